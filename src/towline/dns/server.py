"""A DNS server's two faces, UDP and TCP (RFC 1035 §4.2, RFC 7766), on loopback only."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import select
import socket
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast

from towline.errors import TowlineError

Handle = Callable[[bytes, bool], Awaitable["bytes | None"]]
"""Answers one message; the flag tells that it came by TCP. None drops it. Never raises."""

Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]
"""Runs a coroutine in a task of whoever owns them all."""

_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_BIND_ATTEMPTS = 64
_NO_SUCH_FAMILY = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})

# Hundreds of programs may ask in the same instant; a lost query costs its asker 5 s.
_RECEIVE_BUFFER_BYTES = 1 << 20
_MAX_DATAGRAMS_IN_WORK = 1024
_MAX_CONNECTIONS = 256
_MAX_PIPELINED = 32
# RFC 7766 §6.2.3 asks for "a few seconds".
_IDLE_SECONDS = 15.0


class ServerError(TowlineError):
    """The resolver's sockets could not be made."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Bound sockets: one UDP and one listening TCP socket for each address, on one port."""

    port: int
    udp: tuple[socket.socket, ...]
    tcp: tuple[socket.socket, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that are listened on: 127.0.0.1, and ::1 if this machine has it."""
        return tuple(sock.getsockname()[0] for sock in self.udp)

    def close(self) -> None:
        """Close the sockets."""
        for sock in (*self.udp, *self.tcp):
            sock.close()


def bind_loopback() -> Listeners:
    """Bind the loopback addresses of both families on a free port, the same for all.

    IPv6 is left out where it is switched off. Raise ServerError if there is no such port.
    """
    for _ in range(_BIND_ATTEMPTS):
        with contextlib.ExitStack() as opened:
            try:
                listeners = _bind_all(opened)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                raise ServerError(f"cannot listen for DNS queries: {error.strerror}") from error
            opened.pop_all()
            return listeners
    raise ServerError(
        "cannot listen for DNS queries: no port is free for both UDP and TCP",
        "close programs that hold many sockets, or end other sessions",
    )


class Server:
    """Serves DNS on `listeners`, which it closes in the end."""

    def __init__(self, listeners: Listeners, handle: Handle, spawn: Spawn) -> None:
        self._listeners = listeners
        self._handle = handle
        self._spawn = spawn
        self._closing = contextlib.ExitStack()
        self._is_closed = False
        self._connections: set[_Connection] = set()

    async def start(self) -> None:
        """Begin to serve."""
        loop = asyncio.get_running_loop()
        self._closing.callback(self._listeners.close)
        for sock in self._listeners.udp:
            datagrams, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self._handle, self._spawn), sock=sock
            )
            self._closing.callback(datagrams.abort)
        for sock in self._listeners.tcp:
            server = await loop.create_server(self._connection, sock=sock)
            self._closing.callback(server.close)

    def close(self) -> None:
        """Stop serving and drop all connections."""
        self._is_closed = True
        self._closing.close()
        for connection in tuple(self._connections):
            connection.abort()

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits to be heard: no datagram, and no connection that asked nothing."""
        waiting = select.poll()  # not select(), as a session may have thousands of descriptors
        for sock in (*self._listeners.udp, *self._listeners.tcp):
            waiting.register(sock, select.POLLIN)
        return not waiting.poll(0) and all(each.has_asked for each in self._connections)

    def _connection(self) -> _Connection:
        made = _Connection(self._handle, self._spawn, self._connections)
        if self._is_closed:
            made.abort()
        return made


class _Datagrams(asyncio.DatagramProtocol):
    """Answers each datagram to where it came from."""

    _transport: asyncio.DatagramTransport

    def __init__(self, handle: Handle, spawn: Spawn) -> None:
        self._handle = handle
        self._spawn = spawn
        self._in_work = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own does not inherit from it on every Python.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._in_work < _MAX_DATAGRAMS_IN_WORK:
            self._in_work += 1
            self._spawn(self._answer(data, addr))

    async def _answer(self, data: bytes, addr: Any) -> None:
        try:
            reply = await self._handle(data, False)
        finally:
            self._in_work -= 1
        if reply is not None and not self._transport.is_closing():
            self._transport.sendto(reply, addr)


class _Connection(asyncio.Protocol):
    """Answers the messages of one TCP connection, several at a time, as each is ready.

    It is made some turns of the loop before asyncio connects it.
    """

    _transport: asyncio.Transport

    def __init__(self, handle: Handle, spawn: Spawn, all_open: set[_Connection]) -> None:
        self._handle = handle
        self._spawn = spawn
        self._all_open = all_open
        all_open.add(self)
        self._received = bytearray()
        self._in_work = 0
        self._write_blocked = False
        self._ended = False
        self._is_connected = False
        self._is_aborted = False
        self.has_asked = False
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._is_connected = True
        if self._is_aborted or len(self._all_open) > _MAX_CONNECTIONS:
            transport.abort()
        else:
            self._restart_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._all_open.discard(self)
        if self._idle is not None:
            self._idle.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._work()

    def eof_received(self) -> bool:
        self._ended = True
        self._work()
        return True  # the replies to what it asked are still to be written

    def pause_writing(self) -> None:
        self._write_blocked = True
        self._work()

    def resume_writing(self) -> None:
        self._write_blocked = False
        self._work()

    def abort(self) -> None:
        self._is_aborted = True
        if self._is_connected:
            self._transport.abort()

    def _work(self) -> None:
        """Take up what was received, as far as limits allow, and read on or close."""
        if self._transport.is_closing():
            return
        self._restart_timer()
        while not self._is_busy() and (message := self._next_message()) is not None:
            self._in_work += 1
            self.has_asked = True
            self._spawn(self._answer(message))
        if self._ended:
            if not self._in_work:
                self._transport.close()
        elif self._is_busy():
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _is_busy(self) -> bool:
        return self._write_blocked or self._in_work >= _MAX_PIPELINED

    def _next_message(self) -> bytes | None:
        end = 2 + int.from_bytes(self._received[:2], "big")
        if len(self._received) < max(2, end):
            return None
        message = bytes(self._received[2:end])
        del self._received[:end]
        return message

    async def _answer(self, data: bytes) -> None:
        try:
            reply = await self._handle(data, True)
        finally:
            self._in_work -= 1
        if self._transport.is_closing():
            return
        if reply is None:
            self._transport.close()
            return
        self._transport.write(len(reply).to_bytes(2, "big") + reply)
        self._work()

    def _restart_timer(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(_IDLE_SECONDS, self._transport.abort)


def _bind_all(opened: contextlib.ExitStack) -> Listeners:
    port = 0
    udp: list[socket.socket] = []
    tcp: list[socket.socket] = []
    for family, host in _LOOPBACK:
        try:
            listening = _bind(opened, family, socket.SOCK_STREAM, (host, port))
        except OSError as error:
            if family == socket.AF_INET6 and error.errno in _NO_SUCH_FAMILY:
                continue
            raise
        listening.listen(_MAX_CONNECTIONS)
        port = listening.getsockname()[1]
        tcp.append(listening)
        receiving = _bind(opened, family, socket.SOCK_DGRAM, (host, port))
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        udp.append(receiving)
    return Listeners(port, tuple(udp), tuple(tcp))


def _bind(
    opened: contextlib.ExitStack, family: int, kind: int, address: tuple[str, int]
) -> socket.socket:
    with contextlib.ExitStack() as failing:
        sock = failing.enter_context(socket.socket(family, kind))
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        opened.push(failing.pop_all())
    return sock
