"""Connections that are read from and written to in turn: of this machine, and by the link."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, cast

from towline.relay import sockets
from towline.relay.splice import reason_of
from towline.relay.stream import Stream
from towline.relay.turns import TURN_BYTES
from towline.wire.frames import Buffer, Reason

# A destination that has not answered by then does not.
DIAL_SECONDS = 60.0
# So long a target has for its own end, when all is said.
PARTING_SECONDS = 2.0


class Refusal(Exception):  # noqa: N818
    """There is no connection, or none any more, for a reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.name)
        self.reason = reason


class Wire(Protocol):
    """A connection. What it is not read for waits at its other end."""

    async def read(self) -> bytes:
        """What comes next; b"" at the end. Raises Refusal when it is cut off."""

    async def write(self, data: bytes) -> None:
        """Say something, as soon as there is room for it. Raises Refusal when it is cut off."""

    def end(self) -> None:
        """Say no more."""

    def close(self) -> None:
        """All is said and heard: end it in order."""

    def abort(self) -> None:
        """Cut it off."""


class _Heard:
    """What has come on a connection and was not read, and whether there can be more."""

    def __init__(self) -> None:
        self._came = bytearray()
        self._ended = False
        self._lost: Reason | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def read(self) -> bytes:
        """See the protocol."""
        while not self._came and not self._ended:
            if self._lost is not None:
                raise Refusal(self._lost)
            self._news.clear()
            await self._news.wait()
        return self._take()

    def _take(self) -> bytes:
        came = bytes(self._came)
        self._came.clear()
        return came


class Near(_Heard, asyncio.Protocol):
    """One of this machine."""

    def __init__(self) -> None:
        super().__init__()
        self.transport: asyncio.Transport
        self.on_lost: Callable[[], object] = lambda: None
        """Called when it has ended, in whatever way."""

    async def write(self, data: bytes) -> None:
        """See the protocol."""
        if data:
            self.transport.write(data)
            await self._room.wait()
        if self._lost is not None:
            raise Refusal(self._lost)

    def end(self) -> None:
        """See the protocol."""
        if not self.transport.is_closing():
            with suppress(OSError):  # it has been reset
                self.transport.write_eof()

    def close(self) -> None:
        """See the protocol."""
        sockets.close_in_order(self.transport)

    def abort(self) -> None:
        """See the protocol."""
        sockets.abort_with_reset(self.transport)

    def let_go(self) -> bytes:
        """Leave the connection to somebody else, with what has come and was not read."""
        came = self._take()
        self.transport.pause_reading()
        return came

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self.transport = cast("asyncio.Transport", transport)
        sockets.send_at_once(transport)

    def data_received(self, data: bytes) -> None:
        """Keep it, and hear no more until it is read: not even that it has ended."""
        self._came += data
        self.transport.pause_reading()
        self._news.set()

    def eof_received(self) -> bool:
        """Tell the reader; the other direction stays."""
        self._ended = True
        self._news.set()
        return True

    def pause_writing(self) -> None:
        """The other end is slow."""
        self._room.clear()

    def resume_writing(self) -> None:
        """It is not any more."""
        self._room.set()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell whoever waits."""
        self._lost = reason_of(exc) if exc else Reason.CANCELLED
        self._news.set()
        self._room.set()
        self.on_lost()

    def _take(self) -> bytes:
        came = super()._take()
        if not self.transport.is_closing():
            self.transport.resume_reading()
        return came


class Far(_Heard):
    """One by a stream of the link, which need not have been accepted yet."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        stream.handler = self
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._patience = self._loop.call_later(DIAL_SECONDS, self._give_up)

    async def write(self, data: bytes) -> None:
        """See the protocol."""
        left = memoryview(data)
        while left:
            if self._lost is not None:
                raise Refusal(self._lost)
            size = min(len(left), self._stream.credit, TURN_BYTES)
            if size and self._stream.may_send():
                self._stream.send(left[:size])
                left = left[size:]
            else:
                self._room.clear()
                await self._room.wait()

    def end(self) -> None:
        """See the protocol."""
        self._stream.send_eof()

    def close(self) -> None:
        """See the protocol."""
        self.end()
        self._patience.cancel()
        self._patience = self._loop.call_later(PARTING_SECONDS, self.abort)

    def abort(self) -> None:
        """See the protocol."""
        self._patience.cancel()
        self._stream.reset(Reason.CANCELLED)

    def accepted(self) -> None:
        """There is a connection; whoever reads hears by what it says."""
        self._patience.cancel()

    def data(self, data: Buffer) -> None:
        """Keep it; credit is given when it is read."""
        self._came += data
        self._news.set()

    def eof(self) -> None:
        """Tell the reader."""
        self._ended = True
        self._news.set()

    def reset(self, reason: Reason) -> None:
        """Tell whoever waits."""
        self._patience.cancel()
        self._lost = reason
        self._news.set()
        self._room.set()

    def credit(self) -> None:
        """More may be said."""
        self._room.set()

    def _take(self) -> bytes:
        came = super()._take()
        self._stream.consumed(len(came))
        return came

    def _give_up(self) -> None:
        self._stream.reset(Reason.CANCELLED)
        self.reset(Reason.TIMED_OUT)
