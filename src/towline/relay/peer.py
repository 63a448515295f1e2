"""One end of a link as an asyncio protocol: drives a Mux over any transport and keeps it alive."""

# ruff: noqa: N818

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Callable, ClassVar, cast

from towline.relay import sockets
from towline.relay.stream import Stream, StreamHandler
from towline.relay.turns import Turns
from towline.wire import events
from towline.wire.frames import Buffer, Kind, ProtocolError, Reason
from towline.wire.mux import Mux, StreamClosed

PING_SECONDS = 5.0
DEAD_SECONDS = 15.0
# What is sent so soon after a write waits for the loop's next turn, and goes out with what else
# that brings; the first goes at once, for the sake of round trips.
GATHER_SECONDS = 0.0001
# After one tick of silence a ping is sent, after another it is not answered.
_UNANSWERED_TICKS = 2
CLOSE_SECONDS = 5.0  # for what is still to be sent when the link is closed
# What may wait in the transport. More lets a bulk stream hold up the others for longer, less
# leaves the transport idle while the loop is busy elsewhere.
WRITE_HIGH_BYTES = 256 * 1024
WRITE_LOW_BYTES = 64 * 1024


class LinkLost(Exception):
    """The link is gone, or takes no new streams any more."""


class Peer(asyncio.Protocol):
    """One end of a link.

    `on_hello(properties)` is called with what the other end says of itself, before all else;
    `on_opened(stream, kind, target)` for each stream that the other end opens, and must set
    `stream.handler` before it returns (else the stream is reset as unsupported);
    `on_goaway(text)` when it takes no new streams; `on_silence(silent)` when a ping has not been
    answered in time, or something comes after all; `on_lost(error)` once, None after a close.

    A ping is sent after each `ping_seconds` in which nothing was received, and is to be answered
    within as long; when nothing at all comes for `dead_seconds`, the link is given up.
    """

    def __init__(  # noqa: PLR0913 (as many as a link has news)
        self,
        mux: Mux,
        *,
        on_hello: Callable[[Mapping[str, object]], None] | None = None,
        on_opened: Callable[[Stream, Kind, bytes], None] | None = None,
        on_goaway: Callable[[str], None] | None = None,
        on_silence: Callable[[bool], None] | None = None,
        on_lost: Callable[[BaseException | None], None] | None = None,
        ping_seconds: float = PING_SECONDS,
        dead_seconds: float = DEAD_SECONDS,
    ) -> None:
        self.mux = mux
        self.streams: dict[int, Stream] = {}
        self.last_heard = 0.0
        """Loop time at which something was last received."""
        self.received = self.sent = 0
        """Bytes so far, all that the protocol adds included."""
        self.round_trip: float | None = None
        """Seconds from the last ping that was answered to its answer; None before one was."""
        self._on_hello = on_hello
        self._on_opened = on_opened
        self._on_goaway = on_goaway
        self._on_silence = on_silence
        self._on_lost = on_lost
        self._ping_seconds = ping_seconds
        self._dead_seconds = dead_seconds
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[events.HelloReceived] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._silent = 0  # ticks since something was last received
        self._pinged = (0, 0.0)  # the last ping's token, and when it was sent
        self._lost = self._told_silent = self._write_paused = self._flush_planned = False
        self._error: BaseException | None = None
        self._queued = 0  # payload bytes in the mux, not in the transport yet
        self._flushed = 0.0  # loop time of the last write
        self.turns = Turns(self._busy)
        self.room = memoryview(bytearray(WRITE_HIGH_BYTES))  # where any stream reads what it sends

    # -- for users

    async def ready(self) -> events.HelloReceived:
        """Wait for the other end's hello and return it.

        Raises VersionMismatch or another ProtocolError, OSError or LinkLost if it never comes.
        """
        return await asyncio.shield(self._ready)

    @property
    def lost(self) -> bool:
        """Whether the link is gone."""
        return self._lost

    def open(
        self,
        kind: Kind,
        target: bytes = b"",
        handler: StreamHandler | None = None,
        *,
        data: Buffer = b"",
    ) -> Stream:
        """Open a stream; data may be sent at once. Raises LinkLost when the link takes none.

        The handler, if not given, is to be set before control returns to the event loop. `data`,
        of no more than a first window, leaves together with the opening.
        """
        if self._lost:
            raise LinkLost("the link is lost")
        try:
            stream = Stream(self, self.mux.open(kind, target), incoming=False)
        except StreamClosed as error:
            raise LinkLost(str(error)) from None
        stream.handler = handler
        self.streams[stream.id] = stream
        self.mux.send(stream.id, data)
        self.count_queued(len(data))
        return stream

    @property
    def silent(self) -> bool:
        """Whether a ping has not been answered in time, and nothing else has come since."""
        return self._told_silent

    def probe(self) -> None:
        """Ask for a sign of life now; without one within a ping's time the link is silent."""
        if self._lost or self._transport is None or self._silent >= _UNANSWERED_TICKS:
            return
        self._silent = _UNANSWERED_TICKS
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._ping_seconds, self._tick)
        self._ping()

    def go_away(self, reason: str) -> None:
        """Take no new streams and tell the other end so; those that are open may finish."""
        if not self._lost:
            self.mux.go_away(reason)
            self.flush_soon()

    def close(self) -> None:
        """End the link, its streams at once, when what was queued has been sent.

        That is given a few seconds; `on_lost` is called right away.
        """
        if self._lost:
            return
        self._flush()
        self._end(None)
        transport = self._transport
        if transport is not None:
            self._timer = self._loop.call_later(CLOSE_SECONDS, transport.abort)
            transport.close()

    def abort(self, error: BaseException | None = None) -> None:
        """End the link and its streams at once."""
        self._end(error)
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to talk: the hello goes out at once."""
        self._transport = cast("asyncio.Transport", transport)
        if self._lost:
            self._transport.abort()
            return
        sockets.send_at_once(transport)
        sockets.keep_send_buffer_short(transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES, low=WRITE_LOW_BYTES)
        self.last_heard = self._loop.time()
        self._timer = self._loop.call_later(self._ping_seconds, self._tick)
        self._flush()

    def data_received(self, data: Buffer) -> None:
        """Handle what the other end sent. `data` must not change afterwards."""
        if self._lost:
            return
        self.last_heard = self._loop.time()
        self.received += len(data)
        self._silent = 0
        if self._told_silent:
            self._tell_silence(False)
        self._flush_planned = True  # at the end, for all that the events bring about
        try:
            for event in self.mux.receive(data):
                self._dispatch[type(event)](self, event)
        except ProtocolError as error:
            self._fail(error)
        finally:
            self._flush()

    def eof_received(self) -> None:
        """Let the transport close: a link has no half-close."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the streams and the owner, once."""
        self._transport = None
        self._end(exc)
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        """Let streams wait for their turn from now on."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Give the streams that wait their turns."""
        self._write_paused = False
        self._flush()

    # -- for streams

    def count_queued(self, size: int) -> None:
        """Note that `size` bytes were sent to the mux."""
        self._queued += size
        self.flush_soon()

    def forget(self, stream: Stream) -> None:
        """Note that a stream has ended."""
        self.streams.pop(stream.id, None)

    def flush_soon(self) -> None:
        """Write what the mux has queued: at once, or, when much comes, gathered for a moment."""
        if self._flush_planned:
            return
        if self._loop.time() - self._flushed > GATHER_SECONDS:
            self._flush()
        else:
            self._flush_planned = True
            self._loop.call_soon(self._flush)

    @contextmanager
    def one_flight(self) -> Iterator[None]:
        """Write what is said inside together, when it is over."""
        planned, self._flush_planned = self._flush_planned, True
        try:
            yield
        finally:
            self._flush_planned = planned
            self.flush_soon()

    # -- output

    def _busy(self) -> bool:
        return self._write_paused or self._queued >= WRITE_HIGH_BYTES

    def _flush(self) -> None:
        self._flush_planned = True
        while self._transport is not None and not self._lost:
            output = self.mux.take_output()
            self._queued = 0
            # One that is broken will tell so in the loop's next turn, and complains until then.
            if output and not sockets.is_broken(self._transport):
                self.sent += sum(map(len, output))
                # One buffer: a transport would send several one by one, or join them itself.
                self._transport.write(b"".join(output) if len(output) > 1 else output[0])
                self._flushed = self._loop.time()
            if self._write_paused or not self.turns:
                break
            self.turns.give()
        self._flush_planned = False

    # -- events

    def _hello_received(self, event: events.HelloReceived) -> None:
        if not self._ready.done():
            self._ready.set_result(event)
        if self._on_hello:
            self._on_hello(event.properties)

    def _opened(self, event: events.Opened) -> None:
        stream = Stream(self, event.stream, incoming=True)
        self.streams[stream.id] = stream
        if self._on_opened is not None:
            self._on_opened(stream, event.kind, event.target)
        if stream.handler is None:
            stream.reset(Reason.UNSUPPORTED)

    def _accepted(self, event: events.Accepted) -> None:
        if handler := self._handler(event.stream):
            handler.accepted()

    def _data(self, event: events.Data) -> None:
        if handler := self._handler(event.stream):
            handler.data(event.data)

    def _eof(self, event: events.Eof) -> None:
        if (stream := self.streams.get(event.stream)) is not None:
            stream.note_eof()
            if stream.handler is not None:
                stream.handler.eof()

    def _reset(self, event: events.Reset) -> None:
        stream = self.streams.pop(event.stream, None)
        if stream is not None and stream.handler is not None:
            stream.handler.reset(event.reason)

    def _credit(self, event: events.Credit) -> None:
        if handler := self._handler(event.stream):
            handler.credit()

    def _goaway(self, event: events.GoAway) -> None:
        if self._on_goaway:
            self._on_goaway(event.reason)

    def _pong(self, event: events.Pong) -> None:
        if event.token == self._pinged[0]:
            self.round_trip = self._loop.time() - self._pinged[1]

    def _handler(self, stream: int) -> StreamHandler | None:
        handle = self.streams.get(stream)
        return handle.handler if handle is not None else None

    _dispatch: ClassVar[dict[type, Callable[[Peer, Any], None]]] = {
        events.HelloReceived: _hello_received,
        events.Opened: _opened,
        events.Accepted: _accepted,
        events.Data: _data,
        events.Eof: _eof,
        events.Reset: _reset,
        events.Credit: _credit,
        events.GoAway: _goaway,
        events.Pong: _pong,
    }

    # -- life and death

    def _tick(self) -> None:
        if self._silent * self._ping_seconds >= self._dead_seconds:
            self.abort(LinkLost(f"nothing was heard for {self._dead_seconds:g} seconds"))
            return
        self._timer = self._loop.call_later(self._ping_seconds, self._tick)
        if self._silent >= _UNANSWERED_TICKS and not self._told_silent:
            self._tell_silence(True)
        if self._silent:
            self._ping()
        self._silent += 1
        self.mux.give_back()
        self.flush_soon()

    def _ping(self) -> None:
        self._pinged = (self._pinged[0] + 1, self._loop.time())
        self.mux.ping(self._pinged[0])
        self._flush()

    def _tell_silence(self, silent: bool) -> None:
        self._told_silent = silent
        if self._on_silence:
            self._on_silence(silent)

    def _fail(self, error: ProtocolError) -> None:
        """End the link because the other end broke the protocol, and tell it why."""
        self.mux.go_away(str(error))
        self._error = error
        self.close()

    def _end(self, error: BaseException | None) -> None:
        if self._lost:
            return
        self._lost = True
        error = self._error = self._error or error
        if self._timer is not None:
            self._timer.cancel()
        if not self._ready.done():
            self._ready.set_exception(error or LinkLost("the link was closed"))
            self._ready.exception()  # perhaps nobody waits for it
        self.turns.clear()
        self.mux.close()
        streams = list(self.streams.values())
        self.streams.clear()
        for stream in streams:
            if stream.handler is not None:
                stream.handler.reset(Reason.LINK_LOST)
        if self._on_lost:
            self._on_lost(error)
