"""A UDP socket of one partner, and what all our UDP sockets have in common."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import Any, Callable

from towline.wire.datagrams import MAX_DATAGRAM_BYTES

# As much as the kernel lets us have: a few of the longest datagrams fill its usual buffer.
BUFFER_BYTES = 4 * 1024 * 1024
# Why a datagram is lost that says nothing of the partner.
_LOST = (errno.EMSGSIZE, errno.ENOBUFS)
# So many datagrams are taken before others have their turn.
TURN_DATAGRAMS = 64


class ConnectedUdp:
    """A UDP socket that is connected: it hears its partner alone, and that nobody is there.

    `on_datagram(data)` is called for what comes, `on_error(error)` when the network says that
    what was sent did not arrive. A datagram that cannot be sent now is lost, as UDP has it.
    """

    def __init__(
        self,
        connected: socket.socket,
        on_datagram: Callable[[bytes], None],
        on_error: Callable[[OSError], None],
    ) -> None:
        self._socket = connected
        self._on_datagram = on_datagram
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connected.fileno(), self._readable)

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        on_datagram: Callable[[bytes], None],
        on_error: Callable[[OSError], None],
    ) -> ConnectedUdp:
        """Connect to a host, which may be a name. Raises OSError when there is no way to it."""
        failure = OSError(errno.EADDRNOTAVAIL, f"{host} has no address")
        for family, kind, _, _, address in await _addresses(host, port):
            try:
                return cls(_connected(family, kind, address), on_datagram, on_error)
            except OSError as error:
                failure = error
        raise failure

    def send(self, datagram: bytes) -> None:
        """Send a datagram, or lose it."""
        if self._socket.fileno() < 0:
            return
        try:
            self._socket.send(datagram)
        except BlockingIOError:
            pass  # the network takes no more now
        except OSError as error:
            if error.errno not in _LOST:
                self._on_error(error)

    def close(self) -> None:
        """Hear no more; may be called twice."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(TURN_DATAGRAMS):
            if self._socket.fileno() < 0:
                return
            try:
                datagram = self._socket.recv(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self._on_error(error)
                return
            self._on_datagram(datagram)


def prepare(made: socket.socket) -> None:
    """Give a UDP socket room, and let it never block."""
    made.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        with contextlib.suppress(OSError):
            made.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)


async def _addresses(host: str, port: int) -> list[Any]:
    with contextlib.suppress(socket.gaierror):  # a name
        return socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)


def _connected(family: int, kind: int, address: Any) -> socket.socket:
    made = socket.socket(family, kind)
    try:
        prepare(made)
        made.connect(address)
    except OSError:
        made.close()
        raise
    return made
