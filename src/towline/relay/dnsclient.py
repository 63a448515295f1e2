"""Asks one nameserver one question, by UDP or TCP, with a socket of its own for each question.

A fresh socket has a random port, and being connected it takes datagrams from the server only;
with id and question compared, a reply is as hard to forge as DNS allows (RFC 5452).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from typing import Callable

from towline.wire.dns import (
    MAX_MESSAGE_BYTES,
    QR,
    TC,
    DnsError,
    Rcode,
    read_header,
    read_questions,
)

SocketFactory = Callable[[int, int], Awaitable[socket.socket]]
"""Makes a socket of a family (`AF_…`) and type (`SOCK_…`)."""

Server = tuple[str, int]
"""A nameserver's numeric address, with the zone of a link-local one (`fe80::1%eth0`), and port."""

# A datagram that was lost costs this much, not the whole timeout.
RESEND_SECONDS = 1.5


async def open_socket(family: int, kind: int) -> socket.socket:
    """Return an ordinary socket: the factory that is used when none is given."""
    return socket.socket(family, kind)


async def exchange(
    message: bytes,
    server: Server,
    *,
    timeout: float,
    factory: SocketFactory = open_socket,
) -> bytes:
    """Return the server's reply to a query, asked by UDP and by TCP if that reply is truncated.

    `timeout` is in seconds and for both. A truncated reply is returned when TCP fails. Raise
    OSError or asyncio.TimeoutError when there is no reply, DnsError if `message` is no query.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    reply = await exchange_udp(message, server, timeout=timeout, factory=factory)
    if not read_header(reply)[1] & TC:
        return reply
    try:
        return await exchange_tcp(message, server, timeout=end - loop.time(), factory=factory)
    except (OSError, EOFError, asyncio.TimeoutError):
        return reply


async def exchange_udp(
    message: bytes,
    server: Server,
    *,
    timeout: float,
    factory: SocketFactory = open_socket,
) -> bytes:
    """Return the reply that comes by UDP; errors as of `exchange`."""
    read_questions(message)
    return await _ask_udp(message, server, timeout, factory)


async def exchange_tcp(
    message: bytes,
    server: Server,
    *,
    timeout: float,
    factory: SocketFactory = open_socket,
) -> bytes:
    """Return the reply that comes by TCP; errors as of `exchange`, and EOFError."""
    read_questions(message)
    return await asyncio.wait_for(_ask_tcp(message, server, factory), timeout)


def answers(reply: bytes, query: bytes) -> bool:
    """Tell whether `reply` has the id and the question of `query`.

    A server that does not understand a query may leave its question out.
    """
    try:
        ident, flags, count = read_header(reply)[:3]
        if not flags & QR or ident != read_header(query)[0]:
            return False
        if count == 0:
            return flags & 0xF != Rcode.NOERROR
        return read_questions(reply) == read_questions(query)
    except DnsError:
        return False


async def _ask_udp(message: bytes, server: Server, timeout: float, factory: SocketFactory) -> bytes:
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    sock = await _connected(server, socket.SOCK_DGRAM, factory)
    try:
        while True:
            await loop.sock_sendall(sock, message)
            left = end - loop.time()
            try:
                return await asyncio.wait_for(_next_reply(sock, message), min(RESEND_SECONDS, left))
            except asyncio.TimeoutError:
                if left <= RESEND_SECONDS:
                    raise
    finally:
        sock.close()


async def _next_reply(sock: socket.socket, message: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    while True:
        reply = await loop.sock_recv(sock, MAX_MESSAGE_BYTES)
        if answers(reply, message):
            return reply


async def _ask_tcp(message: bytes, server: Server, factory: SocketFactory) -> bytes:
    loop = asyncio.get_running_loop()
    sock = await _connected(server, socket.SOCK_STREAM, factory)
    try:
        await loop.sock_sendall(sock, len(message).to_bytes(2, "big") + message)
        while True:
            length = int.from_bytes(await _read_exactly(sock, 2), "big")
            reply = await _read_exactly(sock, length)
            if answers(reply, message):
                return reply
    finally:
        sock.close()


async def _read_exactly(sock: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < size:
        part = await loop.sock_recv(sock, size - len(data))
        if not part:
            raise EOFError("the nameserver closed the connection")
        data += part
    return bytes(data)


async def _connected(server: Server, kind: int, factory: SocketFactory) -> socket.socket:
    host, port = server
    # Numeric addresses only, so this neither blocks nor asks anybody.
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=kind, flags=socket.AI_NUMERICHOST
    )[0]
    sock = await factory(family, kind)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
