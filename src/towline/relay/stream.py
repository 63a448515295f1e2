"""A handle on one stream of a Peer, and what whoever holds it must answer to."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from towline.wire.mux import StreamClosed

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from towline.relay.peer import Peer
    from towline.wire.frames import Buffer, Reason

# What those that wait for a turn may have read, each about the same part but no less than a little.
WAITING_BYTES = 4 * 1024 * 1024
LEAST_BYTES = 16 * 1024


class StreamHandler(Protocol):
    """What a stream tells its holder. Called from the event loop; must neither block nor raise."""

    def accepted(self) -> None:
        """The other end accepted the stream we opened."""

    def data(self, data: Buffer) -> None:
        """Bytes came. They count against the window until `Stream.consumed` is called for them."""

    def eof(self) -> None:
        """The other end sends no more."""

    def reset(self, reason: Reason) -> None:
        """The stream has ended: the other end reset it, or (LINK_LOST) the link is gone."""

    def credit(self) -> None:
        """More may be sent: credit came, or it is this stream's turn on a busy link."""


class Stream:
    """One stream of a link. After its end nothing is sent any more."""

    __slots__ = ("_eof_received", "_eof_sent", "_peer", "handler", "id", "incoming", "waiting")

    def __init__(self, peer: Peer, stream: int, *, incoming: bool) -> None:
        self._peer = peer
        self._eof_sent = False
        self._eof_received = False
        self.id = stream
        self.incoming = incoming
        """Whether the other end opened it."""
        self.handler: StreamHandler | None = None
        self.waiting = False  # in the peer's queue for a turn

    @property
    def closed(self) -> bool:
        """Whether the stream has ended: by EOF from both ends, a reset, or the loss of the link."""
        return self.id not in self._peer.streams

    @property
    def credit(self) -> int:
        """How many bytes `send` takes now."""
        return 0 if self.closed else self._peer.mux.credit(self.id)

    def room(self) -> memoryview:
        """Where to read what is sent next: as much as may be sent. Others will read there as well.

        While many wait for their turns that is little, as it will wait, too.
        """
        most = max(LEAST_BYTES, WAITING_BYTES // (len(self._peer.turns) + 1))
        return self._peer.room[: max(1, min(self.credit, most))]

    def may_send(self) -> bool:
        """Whether the link has room; if not, the handler's `credit` is called when it is our turn.

        Streams that wait take turns, each with one `send`. A little data of interactive use
        may be sent without asking.
        """
        return self._peer.turns.may_send(self)

    def one_flight(self) -> AbstractContextManager[None]:
        """Inside, what is said on the stream waits, and goes out together."""
        return self._peer.one_flight()

    def accept(self) -> None:
        """Tell the other end that the stream which it opened works."""
        if self.closed:
            return
        with contextlib.suppress(StreamClosed):
            self._peer.mux.accept(self.id)
            self._peer.flush_soon()

    def send(self, data: Buffer) -> None:
        """Send data, which must not change afterwards. Raises ValueError for more than `credit`."""
        if self.closed:
            return
        with contextlib.suppress(StreamClosed):
            self._peer.mux.send(self.id, data)
            self._peer.count_queued(len(data))

    def send_eof(self) -> None:
        """Send no more; receiving goes on."""
        if self.closed or self._eof_sent:
            return
        self._eof_sent = True
        with contextlib.suppress(StreamClosed):
            self._peer.mux.send_eof(self.id)
        if self._eof_received:
            self._peer.forget(self)
        self._peer.flush_soon()

    def reset(self, reason: Reason) -> None:
        """End the stream in both directions at once. The handler is not told."""
        if not self.closed:
            self._peer.mux.reset(self.id, reason)
            self._peer.forget(self)
            self._peer.flush_soon()

    def consumed(self, size: int) -> None:
        """Let the other end send `size` more bytes, for as many received that are done with.

        Others may get the room, if it has ended: so it is to be called for all that came.
        """
        self._peer.mux.consumed(self.id, size)
        if not self.closed:
            self._peer.flush_soon()

    def note_eof(self) -> None:
        """Note, as the peer's part, that the other end's EOF is being told to the handler."""
        self._eof_received = True
        if self._eof_sent:
            self._peer.forget(self)
