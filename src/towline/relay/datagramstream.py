"""A stream that carries datagrams, both ways, and loses those that it cannot take in time."""

from __future__ import annotations

from typing import Callable

from towline.relay.outbox import Allowance, Outbox
from towline.relay.stream import Stream
from towline.wire import datagrams
from towline.wire.frames import Buffer, Reason

# What may wait for credit or a turn; at least one of the longest datagrams.
WAITING_BYTES = 256 * 1024


class DatagramStream:
    """Made with a stream, it becomes its handler.

    `on_datagram(data)` is called for each that comes, `on_accepted()` when the other end accepts
    our stream, `on_end(reason)` when it has ended the stream: with None for an end in order.
    """

    def __init__(
        self,
        stream: Stream,
        on_datagram: Callable[[bytes], None],
        on_end: Callable[[Reason | None], None],
        *,
        on_accepted: Callable[[], None] | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        stream.handler = self
        self._stream = stream
        self._on_datagram = on_datagram
        self._on_end = on_end
        self._on_accepted = on_accepted
        self._outbox = Outbox(stream, WAITING_BYTES, allowance)
        self._decoder = datagrams.Decoder()

    @property
    def closed(self) -> bool:
        """Whether the stream has ended."""
        return self._stream.closed

    def accept(self) -> None:
        """Tell the other end that the stream which it opened works."""
        self._stream.accept()

    def send(self, datagram: bytes) -> None:
        """Send a datagram, or lose it. Raises ValueError when it is too long for any."""
        self._outbox.put(datagrams.encode(datagram))

    def end(self, reason: Reason) -> None:
        """End it in both directions; `on_end` is not called."""
        self._outbox.clear()
        self._stream.reset(reason)

    # -- StreamHandler

    def accepted(self) -> None:
        """Tell the owner."""
        if self._on_accepted:
            self._on_accepted()

    def data(self, data: Buffer) -> None:
        """Hand over what is complete; nothing is held back from the sender."""
        self._stream.consumed(len(data))
        for datagram in self._decoder.receive(data):
            self._on_datagram(datagram)

    def eof(self) -> None:
        """There is no half-close."""
        self.end(Reason.CANCELLED)
        self._on_end(None)

    def credit(self) -> None:
        """Send what waits."""
        self._outbox.push()

    def reset(self, reason: Reason) -> None:
        """Tell the owner."""
        self._outbox.clear()
        self._on_end(reason)
