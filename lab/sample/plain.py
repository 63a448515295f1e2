"""Echo over TCP and UDP, and a port that resets."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import cast


class CountingEcho(asyncio.Protocol):
    """Sends back what comes; after the end of input a line with the number of bytes, then
    its own end. It never holds more than the socket's buffer: a client that does not read is
    not read from.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to count."""
        self._transport = cast(asyncio.Transport, transport)
        self._count = 0

    def data_received(self, data: bytes) -> None:
        """Echo."""
        self._count += len(data)
        self._transport.write(data)

    def eof_received(self) -> bool:
        """Report."""
        self._transport.write(f"{self._count} bytes\n".encode())
        self._transport.close()
        return True

    def pause_writing(self) -> None:
        """The client does not read."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._transport.resume_reading()


class Resetter(asyncio.Protocol):
    """Resets each connection that it has accepted."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """SO_LINGER of zero makes closing a reset, socket(7)."""
        accepted = cast(asyncio.Transport, transport)
        linger = struct.pack("ii", 1, 0)
        accepted.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        accepted.abort()


class DatagramEcho(asyncio.DatagramProtocol):
    """Sends each datagram back, behind some bytes."""

    def __init__(self, prefix: bytes = b"") -> None:
        self._prefix = prefix

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Echo."""
        self._transport.sendto(self._prefix + data, addr)
