"""What the session may ask of its root helper, and the one form in which it can be asked.

A message is one datagram of a SOCK_SEQPACKET pair: a JSON object, a newline, raw bytes (the
packet that a request is about, or nothing). :func:`parse` is the helper's guard: its peer is
not privileged, so whatever it lets through must be harmless. The standard library only.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from towline.redirect import packets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from towline.redirect.packets import IPAddress, Segment

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Answer = Literal["reset", "net", "host", "prohibited"]
Transport = Literal["udp", "tcp"]

# Holds the largest IP packet and its header; above that nothing is honest.
MAX_MESSAGE_BYTES = 80 * 1024
# The helper's exit status when its standard input is not the session's socket.
NO_PEER_STATUS = 93
MAX_RANGES = 256  # in one request
MAX_NAMESERVERS = 16
MAX_DOMAINS = 64

# What no cluster's range may touch: this host, this link, groups, and the broadcast. Not all of
# 240.0.0.0/4: clusters do use it for pods, and Linux routes it like any other.
_FORBIDDEN_RANGES = (
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "255.255.255.255/32",
    "::/16",
    "fe80::/10",
    "ff00::/8",
)
# The same by version, as numbers: there may be thousands of ranges to be judged at once.
_FORBIDDEN = {
    version: [
        (int(network[0]), int(network[-1]))
        for network in map(ipaddress.ip_network, _FORBIDDEN_RANGES)
        if network.version == version
    ]
    for version in (4, 6)
}
# A range shorter than this would take over much more than any cluster has.
_SHORTEST_PREFIX = {4: 7, 6: 16}
_MAX_DOMAIN_CHARACTERS = 255
# A domain as resolvectl(1) takes it: `~` says that names are not completed with it.
_DOMAIN = re.compile(r"~\.|~?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


class InvalidRequest(ValueError):  # noqa: N818 (a refusal, named for what was refused)
    """The request is not one that the helper carries out; the text says why."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Are you there? Answered with the helper's `pid`."""


@dataclass(frozen=True, slots=True)
class Open:
    """Make the device and the table.

    Answered with `device`, `rank`, `ipv6` and the device's descriptor. To be asked once,
    before all but :class:`Hello`.
    """


@dataclass(frozen=True, slots=True)
class ShareTable:
    """Answered with a descriptor that keeps the table there, and can do nothing else."""


@dataclass(frozen=True, slots=True)
class AddRoutes:
    """Lead these ranges to the device."""

    ranges: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True)
class RemoveRoutes:
    """Lead these ranges to the device no more."""

    ranges: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True)
class RedirectTcp:
    """Redirect connections to open destinations to this port of 127.0.0.1 and ::1."""

    port: int


@dataclass(frozen=True, slots=True)
class CaptureDns:
    """Redirect port 53 of these nameservers to this port of 127.0.0.1 and ::1; none: stop it."""

    nameservers: tuple[IPAddress, ...]
    port: int


@dataclass(frozen=True, slots=True)
class SetLinkDns:
    """Have systemd-resolved ask this port of 127.0.0.1 for names in these domains.

    They are written as resolvectl(1) takes them. None: it shall ask no more.
    """

    domains: tuple[str, ...]
    port: int


@dataclass(frozen=True, slots=True)
class Admit:
    """The SYN's destination accepts: open it, and send the SYN once more."""

    syn: Segment


@dataclass(frozen=True, slots=True)
class Refuse:
    """The segment's destination does not accept: answer in its place."""

    segment: Segment
    answer: Answer


@dataclass(frozen=True, slots=True)
class Forget:
    """The destination is not open any more."""

    address: IPAddress
    port: int


@dataclass(frozen=True, slots=True)
class UpstreamSocket:
    """Make a socket whose DNS queries this session's capture leaves alone."""

    version: int
    transport: Transport


Request = (
    Hello
    | Open
    | ShareTable
    | AddRoutes
    | RemoveRoutes
    | RedirectTcp
    | CaptureDns
    | SetLinkDns
    | Admit
    | Refuse
    | Forget
    | UpstreamSocket
)


def encode(request: Request) -> bytes:
    """Write a request as its message."""
    fields: dict[str, object] = {}
    packet = b""
    match request:
        case Hello() | Open() | ShareTable():
            pass
        case AddRoutes(ranges) | RemoveRoutes(ranges):
            fields = {"ranges": [str(each) for each in ranges]}
        case RedirectTcp(port):
            fields = {"port": port}
        case CaptureDns(nameservers, port):
            fields = {"nameservers": [str(each) for each in nameservers], "port": port}
        case SetLinkDns(domains, port):
            fields = {"domains": domains, "port": port}
        case Admit(syn):
            packet = syn.packet.data
        case Refuse(segment, answer):
            fields, packet = {"answer": answer}, segment.packet.data
        case Forget(address, port):
            fields = {"address": str(address), "port": port}
        case UpstreamSocket(version, transport):
            fields = {"version": version, "transport": transport}
    return frame({"do": type(request).__name__, **fields}, packet)


def parse(data: bytes) -> Request:
    """Read and judge a request; raises :class:`InvalidRequest`."""
    fields, packet = unframe(data)
    read = _READERS.get(_text(fields, "do"))
    if read is None:
        raise InvalidRequest("no such request")
    return read(fields, packet)


def frame(fields: Mapping[str, object], packet: bytes = b"") -> bytes:
    """Put an object and raw bytes into one message."""
    data = json.dumps(fields, separators=(",", ":")).encode() + b"\n" + packet
    if len(data) > MAX_MESSAGE_BYTES:
        raise InvalidRequest("message too long")
    return data


def unframe(data: bytes) -> tuple[dict[str, object], bytes]:
    """Take a message apart; raises :class:`InvalidRequest`."""
    head, newline, packet = data.partition(b"\n")
    try:
        fields = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("not JSON") from error
    if not newline or not isinstance(fields, dict):
        raise InvalidRequest("not a message")
    return fields, packet


def refused_ranges(fields: Mapping[str, object]) -> dict[IPNetwork, str]:
    """What the helper's reply says of ranges that are to be led and could not."""
    refused = fields.get("refused")
    if not isinstance(refused, dict):
        return {}
    return {ipaddress.ip_network(text): str(why) for text, why in refused.items()}


def check_range(network: IPNetwork) -> None:
    """Raise :class:`InvalidRequest` for a range that no cluster has."""
    if network.prefixlen < _SHORTEST_PREFIX[network.version]:
        raise InvalidRequest(f"{network} is too large a range")
    begin, end = int(network.network_address), int(network.broadcast_address)
    for first, last in _FORBIDDEN[network.version]:
        if first <= end and begin <= last:
            raise InvalidRequest(f"{network} is not a range that a cluster may have")


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} is not a text")
    return value


def _port(fields: Mapping[str, object]) -> int:
    value = fields.get("port")
    if type(value) is not int or not 0 < value < 1 << 16:
        raise InvalidRequest("port is not a port")
    return value


def _texts(fields: Mapping[str, object], name: str, limit: int) -> Sequence[str]:
    values = fields.get(name)
    if not isinstance(values, list) or len(values) > limit:
        raise InvalidRequest(f"{name} is not a list of at most {limit}")
    if not all(isinstance(value, str) for value in values):
        raise InvalidRequest(f"{name} is not a list of texts")
    return values


def _address(text: str) -> IPAddress:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise InvalidRequest("not an address") from error
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise InvalidRequest("an address with a zone")
    if address.is_multicast or address.is_unspecified:
        raise InvalidRequest(f"{address} is not a host's address")
    return address


def _ranges(fields: Mapping[str, object]) -> tuple[IPNetwork, ...]:
    ranges = []
    for text in _texts(fields, "ranges", MAX_RANGES):
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise InvalidRequest("not a range") from error
        check_range(network)
        ranges.append(network)
    return tuple(ranges)


def _segment(packet: bytes) -> Segment:
    parsed = packets.parse(packet)
    segment = parsed and packets.parse_tcp(parsed)
    if not segment:
        raise InvalidRequest("not a TCP segment")
    if not segment.destination_port:
        raise InvalidRequest("no destination port")
    return segment


def _read_hello(_fields: Mapping[str, object], _packet: bytes) -> Request:
    return Hello()


def _read_open(_fields: Mapping[str, object], _packet: bytes) -> Request:
    return Open()


def _read_share_table(_fields: Mapping[str, object], _packet: bytes) -> Request:
    return ShareTable()


def _read_add_routes(fields: Mapping[str, object], _packet: bytes) -> Request:
    return AddRoutes(_ranges(fields))


def _read_remove_routes(fields: Mapping[str, object], _packet: bytes) -> Request:
    return RemoveRoutes(_ranges(fields))


def _read_redirect_tcp(fields: Mapping[str, object], _packet: bytes) -> Request:
    return RedirectTcp(_port(fields))


def _read_capture_dns(fields: Mapping[str, object], _packet: bytes) -> Request:
    nameservers = [_address(text) for text in _texts(fields, "nameservers", MAX_NAMESERVERS)]
    return CaptureDns(tuple(nameservers), _port(fields))


def _read_set_link_dns(fields: Mapping[str, object], _packet: bytes) -> Request:
    domains = _texts(fields, "domains", MAX_DOMAINS)
    for text in domains:
        if len(text) > _MAX_DOMAIN_CHARACTERS or not _DOMAIN.fullmatch(text):
            raise InvalidRequest(f"{text[:_MAX_DOMAIN_CHARACTERS]} is not a domain")
    return SetLinkDns(tuple(domains), _port(fields))


def _read_admit(_fields: Mapping[str, object], packet: bytes) -> Request:
    segment = _segment(packet)
    if not segment.opens:
        raise InvalidRequest("not a SYN")
    return Admit(segment)


def _read_refuse(fields: Mapping[str, object], packet: bytes) -> Request:
    match _text(fields, "answer"):
        case "reset" | "net" | "host" | "prohibited" as answer:
            return Refuse(_segment(packet), answer)
    raise InvalidRequest("no such answer")


def _read_forget(fields: Mapping[str, object], _packet: bytes) -> Request:
    return Forget(_address(_text(fields, "address")), _port(fields))


def _read_upstream_socket(fields: Mapping[str, object], _packet: bytes) -> Request:
    version = fields.get("version")
    if type(version) is not int or version not in {4, 6}:
        raise InvalidRequest("no such IP version")
    match _text(fields, "transport"):
        case "udp" | "tcp" as transport:
            return UpstreamSocket(version, transport)
    raise InvalidRequest("no such transport")


_READERS = {
    Hello.__name__: _read_hello,
    Open.__name__: _read_open,
    ShareTable.__name__: _read_share_table,
    AddRoutes.__name__: _read_add_routes,
    RemoveRoutes.__name__: _read_remove_routes,
    RedirectTcp.__name__: _read_redirect_tcp,
    CaptureDns.__name__: _read_capture_dns,
    SetLinkDns.__name__: _read_set_link_dns,
    Admit.__name__: _read_admit,
    Refuse.__name__: _read_refuse,
    Forget.__name__: _read_forget,
    UpstreamSocket.__name__: _read_upstream_socket,
}
