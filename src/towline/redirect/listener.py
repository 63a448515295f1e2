"""The sockets on which redirected connections arrive, with where each was going to."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from towline.redirect.packets import IPAddress

# Of linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h; level SOL_IP or SOL_IPV6.
_ORIGINAL_DESTINATION = 80
_SOCKADDR_BYTES = {socket.AF_INET: 16, socket.AF_INET6: 28}

_BACKLOG = 4096
_BATCH = 64  # connections taken before the loop's other work gets its turn
_RETRY_SECONDS = 0.1  # after the process ran out of descriptors
_PORT_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class Flow:
    """A connection as the program that made it sees it."""

    source: IPAddress
    source_port: int
    destination: IPAddress
    port: int


class Listener:
    """Listens on one port of 127.0.0.1 and, where there is IPv6, of ::1.

    `arrived` gets every redirected connection (non-blocking, the receiver's to close).
    Connections that were made to the listener itself are reset.
    """

    def __init__(self, arrived: Callable[[socket.socket, Flow], None], *, ipv6: bool) -> None:
        self._arrived = arrived
        self._loop = asyncio.get_running_loop()
        self._sockets = _listen_on_one_port(ipv6)
        self.port: int = self._sockets[0].getsockname()[1]
        for each in self._sockets:
            self._loop.add_reader(each, self._accept, each)

    def close(self) -> None:
        """Stop listening. Idempotent."""
        for each in self._sockets:
            if each.fileno() >= 0:
                self._loop.remove_reader(each)
                each.close()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_BATCH):
            if listening.fileno() < 0:
                return
            try:
                connection, peer = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    self._pause(listening)
                    return
                continue  # that connection is gone (accept(2)), not the listener
            connection.setblocking(False)
            flow = _flow(connection, peer)
            if flow is None or (flow.destination.is_loopback and flow.port == self.port):
                reset(connection)
            else:
                self._arrived(connection, flow)

    def _pause(self, listening: socket.socket) -> None:
        self._loop.remove_reader(listening)
        self._loop.call_later(_RETRY_SECONDS, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:
            self._loop.add_reader(listening, self._accept, listening)


def reset(connection: socket.socket) -> None:
    """Close a connection by RST."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _listen_on_one_port(ipv6: bool) -> list[socket.socket]:
    for _ in range(_PORT_ATTEMPTS):
        sockets = [_listen("127.0.0.1", 0)]
        if not ipv6:
            return sockets
        try:
            sockets.append(_listen("::1", sockets[0].getsockname()[1]))
        except OSError as error:
            sockets[0].close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return sockets
    raise OSError(errno.EADDRINUSE, "no port is free on both 127.0.0.1 and ::1")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    made.setblocking(False)
    return made


def _flow(connection: socket.socket, peer: tuple[str, int]) -> Flow | None:
    """Ask conntrack where a connection was going to; None when it knows of none."""
    family = connection.family
    level = socket.IPPROTO_IPV6 if family == socket.AF_INET6 else socket.IPPROTO_IP
    try:
        name = connection.getsockopt(level, _ORIGINAL_DESTINATION, _SOCKADDR_BYTES[family])
    except OSError:
        return None
    (port,) = struct.unpack_from(">H", name, 2)
    packed = name[8:24] if family == socket.AF_INET6 else name[4:8]
    source = ipaddress.ip_address(peer[0].partition("%")[0])
    return Flow(source, peer[1], ipaddress.ip_address(packed), port)
