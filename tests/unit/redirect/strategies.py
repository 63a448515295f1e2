"""Hypothesis strategies for what the redirect parses, built here from the RFCs' pictures."""

from __future__ import annotations

import ipaddress
import struct

from hypothesis import strategies as st

from towline.redirect import packets

any_flags = st.integers(0, 255)
ports = st.integers(1, 65535)
ipv4_hosts = st.integers(0x0B000000, 0x7E000000).map(ipaddress.IPv4Address)
ipv6_hosts = st.integers(0xFD << 120, (0xFE << 120) - 1).map(ipaddress.IPv6Address)


def ipv4(source, destination, protocol, body, options=b""):
    header = 20 + len(options)
    head = bytes([0x40 | header // 4, 0]) + struct.pack(
        ">HHHBBH", header + len(body), 7, 0x4000, 64, protocol, 0
    )
    return head + source.packed + destination.packed + options + body


def ipv6(source, destination, protocol, body):
    head = struct.pack(">IHBB", 6 << 28, len(body), protocol, 64)
    return head + source.packed + destination.packed + body


def tcp(source_port, destination_port, sequence, acknowledgement, flags, payload, options=b""):
    return (
        struct.pack(
            ">HHIIBBHHH",
            source_port,
            destination_port,
            sequence,
            acknowledgement,
            (5 + len(options) // 4) << 4,
            flags,
            64240,
            0,
            0,
        )
        + options
        + payload
    )


def udp(source_port, destination_port, payload):
    return struct.pack(">HHHH", source_port, destination_port, 8 + len(payload), 0) + payload


def echo(kind, identifier, sequence, payload):
    return struct.pack(">BBHHH", kind, 0, 0, identifier, sequence) + payload


@st.composite
def segments(draw, flags=any_flags):
    """Raw IP packets that carry a TCP segment, with what went into them."""
    build, hosts = draw(st.sampled_from([(ipv4, ipv4_hosts), (ipv6, ipv6_hosts)]))
    fields = {
        "source": draw(hosts),
        "destination": draw(hosts),
        "source_port": draw(ports),
        "destination_port": draw(ports),
        "sequence": draw(st.integers(0, 2**32 - 1)),
        "acknowledgement": draw(st.integers(0, 2**32 - 1)),
        "flags": draw(flags),
        "payload": draw(st.binary(max_size=40)),
    }
    options = bytes(4 * draw(st.integers(0, 10)))
    body = tcp(*list(fields.values())[2:], options)
    return build(fields["source"], fields["destination"], packets.TCP, body), fields


syns = segments(flags=st.sampled_from([packets.SYN, packets.SYN | 0xC0]))


def segment_of(data):
    """Parse what must be a TCP segment."""
    return packets.parse_tcp(packets.parse(data))
