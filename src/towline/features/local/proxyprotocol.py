"""Tells a program who its client is: the header of HAProxy's PROXY protocol, version 2.

See https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2.2.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Iterable

from towline.features.local.delivery import Preface
from towline.wire.target import Incoming, Port, Target

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
# The version in the high four bits, the command in the low ones.
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP_OVER_IPV4, _TCP_OVER_IPV6 = 0x00, 0x11, 0x21
_FAMILIES = {4: _TCP_OVER_IPV4, 6: _TCP_OVER_IPV6}
_HEAD = struct.Struct("!12sBBH")
_PORTS = struct.Struct("!HH")

Servers = Callable[[Port], Iterable[Target]]
"""What clients may have connected to, by the port at which it has arrived; the likeliest first."""


def prefaces(servers: Servers) -> Preface:
    """What goes before each connection's own bytes."""

    def preface(incoming: Incoming) -> bytes:
        version = _address(incoming.client).version
        candidates = servers(incoming.port)
        server = next((each for each in candidates if _address(each).version == version), None)
        return header(incoming.client, server)

    return preface


def header(client: Target, server: Target | None) -> bytes:
    """The header for a TCP connection from an address to another one of the same family.

    There is no way to tell one without the other: without a server it tells nothing (LOCAL).
    """
    if server is None:
        return _HEAD.pack(_SIGNATURE, _LOCAL, _UNSPECIFIED, 0)
    source, destination = _address(client), _address(server)
    if source.version != destination.version:
        raise ValueError(f"{client.host} and {server.host} are of different families")
    told = source.packed + destination.packed + _PORTS.pack(client.port, server.port)
    return _HEAD.pack(_SIGNATURE, _PROXY, _FAMILIES[source.version], len(told)) + told


def _address(target: Target) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(target.host)
