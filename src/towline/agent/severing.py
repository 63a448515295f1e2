"""Cuts what a sidecar keeps of connections to a program of its pod, while nothing is under way.

A sidecar uses a connection for requests of many clients, for as long as it lasts: those from before
a redirect would go past it for ever. Messages are those of sock_diag(7).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Collection, Iterator
from typing import NamedTuple

from towline.agent.kubelet import IPAddress
from towline.relay import netlink

# What is not idle for once within this time is something else than requests: it may stay.
TRYING_SECONDS = 30.0
LOOK_SECONDS = 0.02
# A response has its parts follow each other faster. The kernel's clock for this is coarse: it does
# not tell whether a request or an answer came last in the same tick, and waiting does.
QUIET_MS, QUIETER_MS = 20, 100

_NETLINK_SOCK_DIAG = 4  # missing from the socket module
_BY_FAMILY, _DESTROY = 20, 21
_DUMP = 0x300
_DONE = 3
_ESTABLISHED = 1 << 1
_INFO = 2
# Of struct inet_diag_msg: where the identity is, the ports in it, and the attributes after all.
_IDENTITY, _PORTS, _ATTRIBUTES = slice(4, 52), 4, 72
_ADDRESS = 8
# Of struct tcp_info; the times are in ms.
_SINCE_SENT, _SINCE_RECEIVED, _RECEIVED = 44, 52, 128
_FAMILIES = {4: (socket.AF_INET, 4), 6: (socket.AF_INET6, 16)}


class Connection(NamedTuple):
    """One of the sidecar's, by what the kernel knows it, and since when it has been quiet."""

    family: int
    identity: bytes
    since_sent_ms: int
    since_received_ms: int
    received_bytes: int

    @property
    def is_idle(self) -> bool:
        """Whether the last that was said is an answer, and was some time ago."""
        last = self.since_received_ms
        if not self.received_bytes or last > self.since_sent_ms:
            return False
        return last >= (QUIET_MS if last < self.since_sent_ms else QUIETER_MS)


async def sever(sources: Collection[IPAddress], ports: Collection[int]) -> None:
    """Cut the connections that there are now from some addresses to some ports, each when idle.

    A kernel that cannot do it leaves them: Linux 4.5 with INET_DIAG_DESTROY can.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + TRYING_SECONDS
    with contextlib.suppress(OSError), _opened() as diag:
        left = {each.identity for each in _connections(diag, sources, ports)}
        while left and loop.time() < deadline:
            there = {each.identity: each for each in _connections(diag, sources, ports)}
            left &= there.keys()
            for identity in [each for each in left if there[each].is_idle]:
                left.discard(identity)
                with contextlib.suppress(FileNotFoundError):  # it has just ended
                    netlink.ask(
                        diag, _request(_DESTROY, netlink.ACK, there[identity].family, identity)
                    )
            await asyncio.sleep(LOOK_SECONDS)


def _opened() -> socket.socket:
    made = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    )
    made.setblocking(False)
    return made


def _connections(
    diag: socket.socket, sources: Collection[IPAddress], ports: Collection[int]
) -> Iterator[Connection]:
    """What the kernel lists. Raises OSError."""
    for source in sources:
        family, size = _FAMILIES[source.version]
        diag.send(_request(_BY_FAMILY, _DUMP, family, bytes(48)))
        for body in _listed(diag):
            (port,) = struct.unpack_from(">H", body, _PORTS + 2)
            if port in ports and body[_ADDRESS : _ADDRESS + size] == source.packed:
                yield _connection(family, body)


def _connection(family: int, body: bytes) -> Connection:
    identity = body[_IDENTITY]
    for kind, value in netlink.attributes(body[_ATTRIBUTES:]):
        if kind == _INFO and len(value) >= _RECEIVED + 8:
            (sent,) = struct.unpack_from("=I", value, _SINCE_SENT)
            (received,) = struct.unpack_from("=I", value, _SINCE_RECEIVED)
            return Connection(
                family, identity, sent, received, *struct.unpack_from("=Q", value, _RECEIVED)
            )
    return Connection(family, identity, 0, 0, 0)


def _listed(diag: socket.socket) -> Iterator[bytes]:
    """The bodies of the answers to a request for a list, which are there when it is read."""
    while True:
        reply = diag.recv(1 << 16)
        netlink.raise_error(reply)
        for kind, body in netlink.messages(reply):
            if kind == _DONE:
                return
            yield body


def _request(kind: int, flags: int, family: int, identity: bytes) -> bytes:
    """With a struct inet_diag_req_v2, which asks for TCP's own information."""
    head = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 1 << (_INFO - 1), 0, _ESTABLISHED)
    return netlink.message(kind, flags, head + identity)
