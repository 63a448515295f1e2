"""The packets of those who make no connections: UDP (RFC 768) and ICMP echoes (RFC 792, RFC 4443).

Pure functions over bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from towline.redirect import packets
from towline.redirect.packets import ICMP, ICMPV6, UDP, IPAddress, Packet, Unreachable

_UDP_HEAD = struct.Struct(">HHHH")  # ports, length, checksum
_ECHO_HEAD = struct.Struct(">BBHHH")  # type, code, checksum, identifier, sequence number
_CHECKSUM_AT = {UDP: 6, ICMP: 2, ICMPV6: 2}

_REQUEST = {ICMP: 8, ICMPV6: 128}
_REPLY = {ICMP: 0, ICMPV6: 129}
_PORT_UNREACHABLE = {ICMP: (3, 3), ICMPV6: (1, 4)}
_ERROR_BYTES = 8  # before the quoted packet
_PROTOCOL_AT = {4: 9, 6: 6}  # in an IP header
_ICMP_OF = {4: ICMP, 6: ICMPV6}

# What an IP packet of 65,535 bytes holds.
_MAX_PACKET_BYTES = 65535
_IP_HEADER_BYTES = {4: 20, 6: 40}


Peer = tuple[IPAddress, int]
"""An address, and the port or the sequence number there."""


@dataclass(frozen=True, slots=True)
class End:
    """Where datagrams of this machine come from: a UDP socket, or somebody's pings.

    `number` is the socket's port, or the identifier of the echoes.
    """

    protocol: int
    address: IPAddress
    number: int


@dataclass(frozen=True, slots=True)
class Datagram:
    """What one of them says; `number` is its destination's port, or an echo's sequence number."""

    source: End
    destination: IPAddress
    number: int
    data: bytes


def parse(packet: Packet) -> Datagram | None:
    """Read a UDP datagram or an echo request from one host to another; None for all else."""
    for address in (packet.source, packet.destination):
        if address.is_link_local or not packets.is_host(address):
            return None
    if packet.protocol == UDP:
        return _parse_udp(packet)
    if packet.protocol == _ICMP_OF[packet.version]:
        return _parse_echo(packet)
    return None


def answer_to(end: End, host: IPAddress, number: int, data: bytes) -> bytes | None:
    """Build what `end` gets from a host of its family: UDP from a port, or an echo reply.

    None when it does not fit into a packet.
    """
    if end.protocol == UDP:
        return _udp((host, number), (end.address, end.number), data)
    return _echo(_REPLY, host, end.address, (end.number, number), data)


def unreachable_for(
    end: End, host: IPAddress, number: int, quote: bytes, reason: Unreachable
) -> bytes | None:
    """Build the ICMP error that says why what `end` has sent has not reached a host.

    `quote` is the beginning of that.
    """
    if end.protocol == UDP:
        sent = _udp((end.address, end.number), (host, number), quote)
    else:
        sent = _echo(_REQUEST, end.address, host, (end.number, number), quote)
    packet = packets.parse(sent) if sent else None
    return packets.unreachable_for(packet, reason) if packet else None


def closed_port(packet: Packet) -> tuple[End, Peer] | None:
    """Read of which UDP port of this machine an ICMP error says that it is closed, and to whom."""
    body = packet.data[packet.offset :]
    error, quote = body[:_ERROR_BYTES], body[_ERROR_BYTES:]
    if tuple(error[:2]) != _PORT_UNREACHABLE.get(packet.protocol) or not quote:
        return None
    header = 40 if packet.version == 6 else (quote[0] & 15) * 4
    if len(quote) < header + 4 or quote[_PROTOCOL_AT[packet.version]] != UDP:
        return None
    peer_port, port = struct.unpack_from(">HH", quote, header)
    return End(UDP, packet.source, port), (packet.destination, peer_port)


def _parse_udp(packet: Packet) -> Datagram | None:
    begin = packet.offset + _UDP_HEAD.size
    if len(packet.data) < begin:
        return None
    source, destination, length, _ = _UDP_HEAD.unpack_from(packet.data, packet.offset)
    end = packet.offset + length
    if not begin <= end <= len(packet.data):
        return None
    return Datagram(
        End(UDP, packet.source, source), packet.destination, destination, packet.data[begin:end]
    )


def _parse_echo(packet: Packet) -> Datagram | None:
    begin = packet.offset + _ECHO_HEAD.size
    if len(packet.data) < begin:
        return None
    kind, code, _, identifier, sequence = _ECHO_HEAD.unpack_from(packet.data, packet.offset)
    if (kind, code) != (_REQUEST[packet.protocol], 0):
        return None
    end = End(packet.protocol, packet.source, identifier)
    return Datagram(end, packet.destination, sequence, packet.data[begin:])


def _udp(source: Peer, destination: Peer, data: bytes) -> bytes | None:
    head = _UDP_HEAD.pack(source[1], destination[1], _UDP_HEAD.size + len(data), 0)
    return _packet(source[0], destination[0], UDP, head + data)


def _echo(
    kinds: dict[int, int],
    source: IPAddress,
    destination: IPAddress,
    numbers: tuple[int, int],
    data: bytes,
) -> bytes | None:
    protocol = _ICMP_OF[source.version]
    head = _ECHO_HEAD.pack(kinds[protocol], 0, 0, *numbers)
    return _packet(source, destination, protocol, head + data)


def _packet(source: IPAddress, destination: IPAddress, protocol: int, body: bytes) -> bytes | None:
    if len(body) + _IP_HEADER_BYTES[source.version] > _MAX_PACKET_BYTES:
        return None
    return packets.wrap(source.packed, destination.packed, protocol, body, _CHECKSUM_AT[protocol])
