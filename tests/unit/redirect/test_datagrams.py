"""UDP and echoes as packets: read as the RFCs draw them, and built with sums that are right."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.redirect.strategies import (
    echo,
    ipv4,
    ipv4_hosts,
    ipv6,
    ipv6_hosts,
    ports,
    tcp,
    udp,
)
from tests.unit.redirect.test_packets import assert_sums_right
from towline.redirect import datagrams, packets
from towline.redirect.datagrams import Datagram, End
from towline.redirect.packets import ICMP, ICMPV6, UDP, Unreachable

V4 = (ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("10.96.0.10"))
V6 = (ipaddress.ip_address("fd00::1"), ipaddress.ip_address("fd00:10::1"))
FAMILIES = [(ipv4, V4, ICMP), (ipv6, V6, ICMPV6)]
REQUEST, REPLY = {ICMP: 8, ICMPV6: 128}, {ICMP: 0, ICMPV6: 129}
LONGEST = {4: 65507, 6: 65487}


@st.composite
def said(draw):
    """What somebody on this machine says, and the IP packet that carries it."""
    build, hosts, icmp = draw(
        st.sampled_from([(ipv4, ipv4_hosts, ICMP), (ipv6, ipv6_hosts, ICMPV6)])
    )
    protocol = draw(st.sampled_from([UDP, icmp]))
    source, destination, number, other = draw(hosts), draw(hosts), draw(ports), draw(ports)
    data = draw(st.binary(max_size=50))
    if protocol == UDP:
        body = udp(number, other, data)
    else:
        body = echo(REQUEST[protocol], number, other, data)
    options = {"options": bytes(4 * draw(st.integers(0, 10)))} if build is ipv4 else {}
    datagram = Datagram(End(protocol, source, number), destination, other, data)
    return datagram, build(source, destination, protocol, body, **options)


def parse(raw: bytes) -> Datagram | None:
    packet = packets.parse(raw)
    assert packet is not None
    return datagrams.parse(packet)


@given(said())
def test_parse_gives_back_what_went_in(case):
    datagram, raw = case
    assert parse(raw) == datagram


@given(said())
def test_answer_comes_from_the_peer_with_right_sums(case):
    datagram, _ = case
    end = datagram.source
    raw = datagrams.answer_to(end, datagram.destination, datagram.number, datagram.data)
    packet = packets.parse(raw)
    assert_sums_right(packet)
    assert (packet.source, packet.destination) == (datagram.destination, end.address)
    head = packet.data[packet.offset : packet.offset + 8]
    assert packet.data[packet.offset + 8 :] == datagram.data
    if end.protocol == UDP:
        length = 8 + len(datagram.data)
        assert struct.unpack(">HHH", head[:6]) == (datagram.number, end.number, length)
        assert head[6:8] != bytes(2)  # RFC 768: that would be none, which IPv6 does not know
    else:
        expected = (REPLY[end.protocol], 0, end.number, datagram.number)
        assert struct.unpack(">BBxxHH", head) == expected


@given(said(), st.sampled_from(Unreachable))
def test_error_quotes_a_packet_that_reads_as_the_one_that_was_sent(case, reason):
    datagram, _ = case
    raw = datagrams.unreachable_for(
        datagram.source, datagram.destination, datagram.number, datagram.data, reason
    )
    packet = packets.parse(raw)
    assert_sums_right(packet)
    assert packet.destination == datagram.source.address
    assert parse(packet.data[packet.offset + 8 :]) == datagram


@pytest.mark.parametrize(
    ("reason", "v4", "v6"),
    [(Unreachable.PORT, (3, 3), (1, 4)), (Unreachable.EXPIRED, (11, 0), (3, 0))],
)
def test_error_has_the_type_and_code_of_its_family(reason, v4, v6):
    for (source, destination), expected in ((V4, v4), (V6, v6)):
        raw = datagrams.unreachable_for(End(UDP, source, 1000), destination, 53, b"x", reason)
        packet = packets.parse(raw)
        assert tuple(packet.data[packet.offset : packet.offset + 2]) == expected


def test_sum_of_zero_is_sent_as_ones():
    end = End(UDP, V4[0], 1000)
    found = set()
    for word in range(0x10000):
        raw = datagrams.answer_to(end, V4[1], 53, struct.pack(">H", word))
        found.add(raw[26:28])
        if raw[26:28] == b"\xff\xff":
            assert_sums_right(packets.parse(raw))
            break
    assert b"\0\0" not in found
    assert b"\xff\xff" in found


@pytest.mark.parametrize("ends", [V4, V6])
def test_longest_fits_and_a_longer_one_is_none(ends):
    source, host = ends
    for protocol in (UDP, ICMP if source.version == 4 else ICMPV6):
        end, size = End(protocol, source, 1000), LONGEST[source.version]
        assert len(datagrams.answer_to(end, host, 53, bytes(size))) == 65535
        assert datagrams.answer_to(end, host, 53, bytes(size + 1)) is None


@given(st.binary(max_size=120))
def test_parse_of_any_bytes_never_fails(data):
    for build, ends, icmp in FAMILIES:
        for protocol in (UDP, icmp, packets.TCP):
            packet = packets.parse(build(*ends, protocol, data))
            datagrams.parse(packet)
            datagrams.closed_port(packet)


@pytest.mark.parametrize(
    "raw",
    [
        ipv4(*V4, packets.TCP, tcp(1, 2, 3, 4, packets.SYN, b"")),
        ipv4(*V4, ICMP, echo(0, 1, 2, b"reply")),
        ipv6(*V6, ICMPV6, echo(129, 1, 2, b"reply")),
        ipv4(*V4, ICMPV6, echo(128, 1, 2, b"of the other family")),
        ipv6(*V6, ICMP, echo(8, 1, 2, b"of the other family")),
        ipv4(*V4, UDP, udp(1, 2, b"")[:7]),
        ipv4(*V4, UDP, struct.pack(">HHHH", 1, 2, 9, 0)),  # longer than its packet
        ipv4(*V4, UDP, struct.pack(">HHHH", 1, 2, 7, 0)),  # shorter than its header
        ipv4(V4[0], ipaddress.ip_address("224.0.0.251"), UDP, udp(5353, 5353, b"x")),
        ipv4(V4[0], ipaddress.ip_address("255.255.255.255"), UDP, udp(68, 67, b"x")),
        ipv4(V4[0], ipaddress.ip_address("169.254.1.1"), UDP, udp(1, 2, b"x")),
        ipv6(V6[0], ipaddress.ip_address("ff02::fb"), UDP, udp(5353, 5353, b"x")),
        ipv6(ipaddress.ip_address("fe80::1"), V6[1], UDP, udp(1, 2, b"x")),
    ],
)
def test_what_is_not_the_clusters_is_none(raw):
    assert parse(raw) is None


@pytest.mark.parametrize(("build", "ends", "icmp"), FAMILIES)
def test_closed_port_is_read_from_the_error_that_this_machine_sends(build, ends, icmp):
    here, there = ends
    came = build(there, here, UDP, udp(53, 40000, b"late"))
    error = packets.unreachable_for(packets.parse(came), Unreachable.PORT)
    assert datagrams.closed_port(packets.parse(error)) == (
        End(UDP, here, 40000),
        (there, 53),
    )
    for other in (
        packets.unreachable_for(packets.parse(came), Unreachable.HOST),
        packets.unreachable_for(
            packets.parse(build(there, here, packets.TCP, udp(53, 40000, b""))), Unreachable.PORT
        ),
        came,
    ):
        assert datagrams.closed_port(packets.parse(other)) is None
