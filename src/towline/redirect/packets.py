"""The few IP packets that the redirect reads and answers: TCP segments, resets, ICMP errors.

Pure functions over bytes. IPv4 is RFC 791, IPv6 RFC 8200, TCP RFC 9293, ICMP RFC 792 and
ICMPv6 RFC 4443. Runs in the root helper as well: the standard library only.
"""

from __future__ import annotations

import enum
import ipaddress
import struct
from dataclasses import dataclass

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_BROADCAST = ipaddress.IPv4Address("255.255.255.255")

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

_HOP_LIMIT = 64
# RFC 1812 §4.3.2.3 and RFC 4443 §2.4(c): an error must fit the smallest packet every host takes.
_MAX_ERROR_BYTES = {4: 576, 6: 1280}
# IPv6 extension headers that may stand before the transport header (RFC 8200 §4.1).
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION = 0, 43, 44, 60
# Informational ICMP, which alone may be answered by an error (RFC 1122 §3.2.2, RFC 4443 §2.4(e)).
_ICMP_ERRORS = frozenset({3, 4, 5, 11, 12})


class Unreachable(enum.Enum):
    """Why a packet did not reach its destination: what ICMP errors say."""

    NET = "net"
    HOST = "host"
    PORT = "port"
    PROHIBITED = "prohibited"
    EXPIRED = "expired"


# The types and codes of ICMP (RFC 792, RFC 1812 §5.2.7.1) and ICMPv6 (RFC 4443 §3.1, §3.3).
_CODES = {
    4: {
        Unreachable.NET: (3, 0),
        Unreachable.HOST: (3, 1),
        Unreachable.PORT: (3, 3),
        Unreachable.PROHIBITED: (3, 13),
        Unreachable.EXPIRED: (11, 0),
    },
    6: {
        Unreachable.NET: (1, 0),
        Unreachable.HOST: (1, 3),
        Unreachable.PORT: (1, 4),
        Unreachable.PROHIBITED: (1, 1),
        Unreachable.EXPIRED: (3, 0),
    },
}


@dataclass(frozen=True, slots=True)
class Packet:
    """An IP packet that is whole: no fragment, its lengths agree with its bytes.

    `offset` is where the transport header of `protocol` begins in `data`.
    """

    data: bytes
    version: int
    source: IPAddress
    destination: IPAddress
    protocol: int
    offset: int


@dataclass(frozen=True, slots=True)
class Segment:
    """The TCP header of a packet; `payload` counts the bytes that follow it."""

    packet: Packet
    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    flags: int
    payload: int

    @property
    def opens(self) -> bool:
        """Whether this is the first segment of a connection: SYN, and neither ACK nor RST."""
        return self.flags & (SYN | ACK | RST) == SYN


def parse(data: bytes) -> Packet | None:
    """Read one IP packet of either family; None when it is broken or a fragment."""
    if not data:
        return None
    version = data[0] >> 4
    if version == 4:
        return _parse_ipv4(data)
    if version == 6:
        return _parse_ipv6(data)
    return None


def parse_tcp(packet: Packet) -> Segment | None:
    """Read the TCP header of a packet; None when it carries no (complete) one."""
    if packet.protocol != TCP or len(packet.data) < packet.offset + 20:
        return None
    source, destination, sequence, acknowledgement, length, flags = struct.unpack_from(
        ">HHIIBB", packet.data, packet.offset
    )
    header = (length >> 4) * 4
    payload = len(packet.data) - packet.offset - header
    if header < 20 or payload < 0:
        return None
    return Segment(packet, source, destination, sequence, acknowledgement, flags, payload)


def reset_for(segment: Segment) -> bytes | None:
    """Build the packet by which a closed port answers (RFC 9293 §3.10.7.1).

    None for a reset, which nothing answers.
    """
    if segment.flags & RST:
        return None
    if segment.flags & ACK:
        sequence, acknowledgement, flags = segment.acknowledgement, 0, RST
    else:
        length = segment.payload + bool(segment.flags & SYN) + bool(segment.flags & FIN)
        sequence, acknowledgement, flags = 0, (segment.sequence + length) & 0xFFFFFFFF, RST | ACK
    header = struct.pack(
        ">HHIIBBHHH",
        segment.destination_port,
        segment.source_port,
        sequence,
        acknowledgement,
        5 << 4,
        flags,
        0,
        0,
        0,
    )
    return _answer(segment.packet, TCP, header, checksum_at=16)


def unreachable_for(packet: Packet, reason: Unreachable) -> bytes | None:
    """Build the ICMP error that says `reason` about a packet, and quotes it.

    None for what an error must not answer: ICMP errors, and packets that are not from one
    host to one host (RFC 1122 §3.2.2, RFC 4443 §2.4(e)).
    """
    if _is_icmp_error(packet) or not (is_host(packet.source) and is_host(packet.destination)):
        return None
    protocol, header = (ICMP, 20) if packet.version == 4 else (ICMPV6, 40)
    quote = packet.data[: _MAX_ERROR_BYTES[packet.version] - header - 8]
    body = struct.pack(">BBHI", *_CODES[packet.version][reason], 0, 0) + quote
    return _answer(packet, protocol, body, checksum_at=2)


def checksum(data: bytes) -> int:
    """Compute the Internet checksum of RFC 1071, as it is written into a header."""
    if len(data) % 2:
        data += b"\0"
    # 2**16 is 1 modulo 0xffff, so the whole as one number has the ones' complement sum as rest.
    total = int.from_bytes(data, "big")
    rest = total % 0xFFFF
    return 0 if total and not rest else ~rest & 0xFFFF


def _parse_ipv4(data: bytes) -> Packet | None:
    if len(data) < 20:
        return None
    header = (data[0] & 15) * 4
    total, _, fragment = struct.unpack_from(">HHH", data, 2)
    if header < 20 or total != len(data) or total < header:
        return None
    if fragment & 0x3FFF:  # more fragments follow, or this is not the first
        return None
    source, destination = ipaddress.IPv4Address(data[12:16]), ipaddress.IPv4Address(data[16:20])
    return Packet(data, 4, source, destination, data[9], header)


def _parse_ipv6(data: bytes) -> Packet | None:
    if len(data) < 40 or int.from_bytes(data[4:6], "big") != len(data) - 40:
        return None
    protocol, offset = data[6], 40
    while protocol in {_HOP_BY_HOP, _ROUTING, _DESTINATION}:
        if len(data) < offset + 8:
            return None
        protocol, offset = data[offset], offset + 8 + data[offset + 1] * 8
    if protocol == _FRAGMENT or offset > len(data):
        return None
    source, destination = ipaddress.IPv6Address(data[8:24]), ipaddress.IPv6Address(data[24:40])
    return Packet(data, 6, source, destination, protocol, offset)


def _answer(packet: Packet, protocol: int, body: bytes, checksum_at: int) -> bytes:
    """Wrap a transport header and its data in an IP header back to the packet's source."""
    return wrap(packet.destination.packed, packet.source.packed, protocol, body, checksum_at)


def wrap(source: bytes, destination: bytes, protocol: int, body: bytes, checksum_at: int) -> bytes:
    """Build the packet between two addresses of one family of a transport header and its data.

    The header's checksum, at `checksum_at`, is to be 0.
    """
    covered = body
    if protocol != ICMP:
        covered = source + destination + struct.pack(">IHBB", len(body), 0, 0, protocol) + body
    total = checksum(covered)
    if protocol == UDP and not total:  # RFC 768: 0 would say that there is none
        total = 0xFFFF
    body = b"".join((body[:checksum_at], struct.pack(">H", total), body[checksum_at + 2 :]))
    if len(source) == 16:
        head = struct.pack(">IHBB", 6 << 28, len(body), protocol, _HOP_LIMIT)
        return head + source + destination + body
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, _HOP_LIMIT, protocol, 0)
    head += source + destination
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body


def _is_icmp_error(packet: Packet) -> bool:
    if packet.protocol not in {ICMP, ICMPV6}:
        return False
    kind = packet.data[packet.offset : packet.offset + 1]
    if packet.protocol == ICMPV6:
        return not kind or kind[0] < 128  # RFC 4443 §2.1: the high bit marks information
    return not kind or kind[0] in _ICMP_ERRORS


def is_host(address: IPAddress) -> bool:
    """Whether an address is one host's."""
    return not (address.is_multicast or address.is_unspecified or address == _BROADCAST)
