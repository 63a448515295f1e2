"""One end of a link: many streams over one ordered byte transport, sans-IO.

Bytes go in by `receive`, events come out; calls queue bytes, `take_output` hands them over.
docs/protocol.md describes the protocol, its states and its windows.
"""

# Exceptions are named for what happened; an "Error" behind each adds nothing.
# ruff: noqa: N818

from __future__ import annotations

from typing import TYPE_CHECKING

from towline.wire import frames
from towline.wire.budget import Budget
from towline.wire.events import (
    Accepted,
    Credit,
    Data,
    Eof,
    Event,
    GoAway,
    HelloReceived,
    Opened,
    Pong,
    Reset,
)
from towline.wire.frames import Buffer, FrameType, Kind, ProtocolError, Reason
from towline.wire.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from towline.wire.state import StreamState

# So much may wait unread for each stream, whatever it does.
INITIAL_WINDOW = 64 * 1024
MAX_WINDOW = 32 * 1024 * 1024  # of which three quarters are under way: 2.5 Gbit/s over 80 ms
MAX_STREAMS = 65536
MAX_CREDIT = 0x7FFFFFFF

# A payload up to this size is copied behind its header: cheaper than a buffer of its own.
_JOIN_BYTES = 4096
_KINDS = frozenset(Kind)
_REASONS = frozenset(Reason) - {Reason.LINK_LOST}


class StreamClosed(Exception):
    """The stream has ended, or this direction of it, perhaps by the peer's doing a moment ago."""


class Mux:
    """One end of a link. After a ProtocolError it is of no more use.

    `client` decides only who uses odd stream ids (the client) and who even ones. `hello` is
    told to the peer and must be fit for JSON. `initial_window` (bytes) is part of the
    protocol: ends with different ones cannot talk. Windows of streams whose readers keep up
    grow, each up to `max_window` bytes, all together by what `budget` has; so no more than
    that, and an initial window for each stream, can wait for readers that stall. `max_streams`
    bounds how many the peer may have open.
    """

    def __init__(
        self,
        *,
        client: bool,
        hello: Mapping[str, object] | None = None,
        initial_window: int = INITIAL_WINDOW,
        max_window: int = MAX_WINDOW,
        budget: Budget | None = None,
        max_streams: int = MAX_STREAMS,
    ) -> None:
        self._initial_window = initial_window
        self._windows = Windows(initial_window, max_window, budget or Budget())
        self._max_streams = max_streams
        self._decoder = frames.Decoder()
        self._streams: dict[int, StreamState] = {}
        self._ended: dict[int, StreamState] = {}  # both ways, but not read to the end
        self._next_ours = 1 if client else 2
        self._next_theirs = 2 if client else 1
        self._open_theirs = 0
        self._leaving = False  # we sent GOAWAY
        self._left = False  # the peer did
        self._out: list[Buffer] = [frames.encode_hello(hello or {})]
        self._handlers = {
            FrameType.HELLO: self._on_hello,
            FrameType.OPEN: self._on_open,
            FrameType.ACCEPT: self._on_accept,
            FrameType.EOF: self._on_eof,
            FrameType.RESET: self._on_reset,
            FrameType.WINDOW: self._on_window,
            FrameType.PING: self._on_ping,
            FrameType.PONG: self._on_pong,
            FrameType.GOAWAY: self._on_goaway,
            FrameType.BLOCKED: self._on_blocked,
            FrameType.RETURN: self._on_return,
        }

    # -- bytes and events

    def receive(self, data: Buffer) -> list[Event]:
        """Return what the peer's bytes mean.

        Data events hold views into `data`, without a copy: they stay valid for ever, so the
        caller must not change `data` afterwards. A large DATA frame may come as several
        events. Raises ProtocolError on a violation; events of the same call are lost then.
        """
        events: list[Event] = []
        streams = self._streams
        for kind, stream, payload in self._decoder.receive(data):
            if kind:
                handler = self._handlers.get(kind)  # type: ignore[call-overload]
                if handler:
                    event = handler(stream, payload)
                    if event is not None:
                        events.append(event)
                continue
            state = streams.get(stream)
            if state is None:
                self._check_was_open(stream)
                continue
            state.granted -= len(payload)
            state.blocked = False
            if state.granted < 0 or state.eof_received or (state.ours and not state.accepted):
                raise ProtocolError(f"stream {stream}: {state.error()}")
            events.append(Data(stream, payload))
        return events

    def take_output(self) -> list[Buffer]:
        """Return, in order, the buffers to be sent, and forget them; bulk data is not copied."""
        out = self._out
        self._out = []
        return out

    # -- streams

    def open(self, kind: Kind, target: bytes = b"") -> int:
        """Open a stream and return its id; data and EOF may be sent at once.

        Raises StreamClosed when the link takes no new streams: after a GOAWAY of either end,
        or when the ids are used up.
        """
        if len(target) > frames.MAX_TARGET_BYTES:
            raise ValueError(f"target of {len(target)} bytes is too long")
        stream = self._next_ours
        if self._left or self._leaving or stream > frames.MAX_STREAM:
            raise StreamClosed("the link takes no new streams")
        self._next_ours += 2
        state = self._streams[stream] = self._windows.begin(kind, ours=True)
        self._out.append(frames.encode(FrameType.OPEN, stream, bytes((kind,)) + target))
        self._grant(stream, self._windows.widen(state))
        return stream

    def accept(self, stream: int) -> None:
        """Tell the peer that the stream it opened works. Raises StreamClosed if it has ended."""
        state = self._state(stream)
        if state.ours or state.accepted:
            raise ValueError(f"stream {stream} is not to be accepted")
        state.accepted = True
        self._out.append(frames.encode(FrameType.ACCEPT, stream))
        self._grant(stream, self._windows.widen(state))

    def credit(self, stream: int) -> int:
        """Return how many bytes may be sent on the stream now; none on one that has ended."""
        state = self._streams.get(stream)
        return 0 if state is None or state.eof_sent else state.credit

    def send(self, stream: int, data: Buffer) -> None:
        """Queue data, which must not change afterwards.

        Raises ValueError for more than `credit`, or before a stream of the peer's was
        accepted; StreamClosed after EOF or a reset.
        """
        state = self._sendable(stream)
        size = len(data)
        if size > state.credit:
            raise ValueError(f"{size} bytes on stream {stream} with credit for {state.credit}")
        if not size:
            return
        state.credit -= size
        state.idle = False
        if size <= _JOIN_BYTES:
            self._out.append(frames.pack_header(size, stream) + data)
        elif size <= frames.MAX_DATA_BYTES:
            self._out += (frames.pack_header(size, stream), data)
        else:
            view = memoryview(data)
            for pos in range(0, size, frames.MAX_DATA_BYTES):
                piece = view[pos : pos + frames.MAX_DATA_BYTES]
                self._out += (frames.pack_header(len(piece), stream), piece)
        if not state.credit:
            self._out.append(frames.encode(FrameType.BLOCKED, stream))

    def send_eof(self, stream: int) -> None:
        """Send no more on this stream; receiving goes on. Raises as `send` does."""
        state = self._sendable(stream)
        state.eof_sent = True
        self._out.append(frames.encode(FrameType.EOF, stream))
        if state.eof_received:
            self._end(stream)

    def reset(self, stream: int, reason: Reason) -> None:
        """End the stream in both directions at once. Nothing happens if it has ended already."""
        if stream in self._streams:
            self._windows.drop(self._forget(stream))
            self._refuse(stream, reason)

    def consumed(self, stream: int, size: int) -> None:
        """Give the peer credit again, in time, for `size` bytes that the user is done with.

        Nothing happens if the stream was reset. Raises ValueError for more than was received.
        """
        state = self._streams.get(stream) or self._ended.get(stream)
        if state is None:
            return
        if not 0 <= size <= state.unread:
            raise ValueError(f"{size} bytes consumed on stream {stream} of {state.unread} received")
        self._grant(stream, self._windows.consumed(state, size))
        if not state.window:
            self._ended.pop(stream, None)

    def give_back(self) -> None:
        """Return most of the credit of streams on which nothing was sent since the last call.

        To be called now and then: others may need the room that is kept for such a stream.
        """
        for stream, state in self._streams.items():
            spare = state.credit - self._initial_window
            if state.idle and spare > 0 and not state.eof_sent:
                state.credit -= spare
                self._out.append(frames.encode_credit(FrameType.RETURN, stream, spare))
            state.idle = True

    def close(self) -> None:
        """Let others have what this link has of the budget: nothing is received any more."""
        for state in (*self._streams.values(), *self._ended.values()):
            self._windows.drop(state)
        self._streams.clear()
        self._ended.clear()

    # -- the link

    def ping(self, token: int) -> None:
        """Ask the peer for a Pong with the same token, of 64 bits."""
        self._out.append(frames.encode_ping(FrameType.PING, token))

    def go_away(self, reason: str) -> None:
        """Announce the link's end: streams that are open may finish, no new ones are taken."""
        self._leaving = True
        text = reason.encode("utf-8", "replace")[: frames.MAX_CONTROL_BYTES]
        self._out.append(frames.encode(FrameType.GOAWAY, 0, text))

    # -- frames, by type

    def _on_hello(self, _: int, payload: Buffer) -> Event:
        return HelloReceived(frames.PROTOCOL_VERSION, frames.decode_hello(payload))

    def _on_open(self, stream: int, payload: Buffer) -> Event | None:
        if stream % 2 != self._next_theirs % 2 or stream < self._next_theirs:
            raise ProtocolError(f"stream {stream}: opened out of turn")
        self._next_theirs = stream + 2
        if self._leaving:
            self._refuse(stream, Reason.GOING_AWAY)
        elif payload[0] not in _KINDS:
            self._refuse(stream, Reason.UNSUPPORTED)
        elif self._open_theirs >= self._max_streams:
            self._refuse(stream, Reason.EXHAUSTED)
        else:
            self._open_theirs += 1
            kind = Kind(payload[0])
            self._streams[stream] = self._windows.begin(kind, ours=False)
            return Opened(stream, kind, bytes(payload[1:]))
        return None

    def _on_accept(self, stream: int, _: Buffer) -> Event | None:
        state = self._received_for(stream)
        if state is None:
            return None
        if not state.ours or state.accepted:
            raise ProtocolError(f"stream {stream}: not for the peer to accept")
        state.accepted = True
        return Accepted(stream)

    def _on_eof(self, stream: int, _: Buffer) -> Event | None:
        state = self._received_for(stream)
        if state is None:
            return None
        if state.eof_received or (state.ours and not state.accepted):
            raise ProtocolError(f"stream {stream}: {state.error()}")
        self._windows.end(state)
        if state.eof_sent:
            self._end(stream)
        return Eof(stream)

    def _on_reset(self, stream: int, payload: Buffer) -> Event | None:
        if self._received_for(stream) is None:
            return None
        self._windows.drop(self._forget(stream))
        code = payload[0]
        return Reset(stream, Reason(code) if code in _REASONS else Reason.INTERNAL)

    def _on_window(self, stream: int, payload: Buffer) -> Event | None:
        state = self._received_for(stream)
        if state is None:
            return None
        state.credit += frames.decode_credit(payload)
        if state.credit > MAX_CREDIT:
            raise ProtocolError(f"stream {stream}: credit beyond {MAX_CREDIT} bytes")
        return None if state.eof_sent else Credit(stream)

    def _on_blocked(self, stream: int, _: Buffer) -> None:
        state = self._received_for(stream)
        if state is not None and not state.eof_received:
            self._grant(stream, self._windows.blocked(state))

    def _on_return(self, stream: int, payload: Buffer) -> None:
        state = self._received_for(stream)
        if state is None or state.eof_received:
            return
        returned = frames.decode_credit(payload)
        if returned > state.granted:
            raise ProtocolError(f"stream {stream}: {returned} bytes returned of {state.granted}")
        self._windows.take_back(state, returned)

    def _on_ping(self, _: int, payload: Buffer) -> None:
        self._out.append(frames.encode_ping(FrameType.PONG, frames.decode_ping(payload)))

    def _on_pong(self, _: int, payload: Buffer) -> Event:
        return Pong(frames.decode_ping(payload))

    def _on_goaway(self, _: int, payload: Buffer) -> Event:
        self._left = True
        return GoAway(bytes(payload).decode("utf-8", "replace"))

    # -- helpers

    def _state(self, stream: int) -> StreamState:
        state = self._streams.get(stream)
        if state is None:
            raise StreamClosed(f"stream {stream} has ended")
        return state

    def _sendable(self, stream: int) -> StreamState:
        state = self._state(stream)
        if state.eof_sent:
            raise StreamClosed(f"stream {stream} was ended by us")
        if not (state.ours or state.accepted):
            raise ValueError(f"stream {stream} is not accepted yet")
        return state

    def _received_for(self, stream: int) -> StreamState | None:
        """Return the stream's state, None if it has ended: what arrives late is ignored."""
        state = self._streams.get(stream)
        if state is None:
            self._check_was_open(stream)
        return state

    def _check_was_open(self, stream: int) -> None:
        ours = stream % 2 == self._next_ours % 2
        if stream >= (self._next_ours if ours else self._next_theirs):
            raise ProtocolError(f"stream {stream}: never opened")

    def _forget(self, stream: int) -> StreamState:
        state = self._streams.pop(stream)
        if not state.ours:
            self._open_theirs -= 1
        return state

    def _end(self, stream: int) -> None:
        """Forget a stream that both ends have ended; the reader may still be busy with it."""
        state = self._forget(stream)
        if state.window:
            self._ended[stream] = state

    def _refuse(self, stream: int, reason: Reason) -> None:
        self._out.append(frames.encode(FrameType.RESET, stream, bytes((reason,))))

    def _grant(self, stream: int, credit: int) -> None:
        if credit:
            self._out.append(frames.encode_credit(FrameType.WINDOW, stream, credit))
