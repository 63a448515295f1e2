"""The networks that the pod itself is part of, as its kernel's routes say (proc(5)).

The standard library only, on Python 3.9.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Union

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

_NO_GATEWAY_V4 = "00000000"
_NO_GATEWAY_V6 = "0" * 32


def networks_of(
    addresses: Iterable[str],
    ipv4_routes: str = "/proc/net/route",
    ipv6_routes: str = "/proc/net/ipv6_route",
) -> list[str]:
    """For each of the pod's addresses the network that it is in; itself where there is none."""
    near = [*_ipv4(_lines(ipv4_routes)), *_ipv6(_lines(ipv6_routes))]
    found = []
    for text in addresses:
        address = ipaddress.ip_address(text)
        around = [net for net in near if net.version == address.version and address in net]
        narrowest = max(around, key=lambda net: net.prefixlen, default=None)
        found.append(str(narrowest or ipaddress.ip_network(text)))
    return found


def _lines(path: str) -> list[list[str]]:
    try:
        return [line.split() for line in Path(path).read_text(encoding="ascii").splitlines()]
    except OSError:
        return []


def _ipv4(lines: list[list[str]]) -> Iterator[Network]:
    for interface, to, gateway, *rest in (line for line in lines[1:] if len(line) > 7):
        mask = rest[4]
        if gateway == _NO_GATEWAY_V4 and interface != "lo" and mask not in ("00000000", "FFFFFFFF"):
            yield ipaddress.ip_network(f"{_dotted(to)}/{_dotted(mask)}")


def _ipv6(lines: list[list[str]]) -> Iterator[Network]:
    for to, length, _, _, gateway, *_, interface in (line for line in lines if len(line) > 9):
        prefix = int(length, 16)
        if gateway == _NO_GATEWAY_V6 and interface != "lo" and 0 < prefix < 128:
            yield ipaddress.IPv6Network((bytes.fromhex(to), prefix))


def _dotted(number: str) -> str:
    return socket.inet_ntoa(struct.pack("=I", int(number, 16)))
