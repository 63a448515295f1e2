"""One question, one answer: a stream whose two directions each carry one message."""

# ruff: noqa: N818

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from towline.relay.outbox import Outbox
from towline.wire.frames import Buffer, Kind, Reason
from towline.wire.mux import INITIAL_WINDOW

if TYPE_CHECKING:
    from towline.relay.peer import Peer
    from towline.relay.stream import Stream

LONGEST_MESSAGE = 128 * 1024


class StreamReset(Exception):
    """The other end reset the stream, or the link was lost."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.name)
        self.reason = reason


async def request(
    peer: Peer, kind: Kind, payload: bytes, timeout: float, *, target: bytes = b""
) -> bytes:
    """Open a stream, send `payload` and EOF, and return all that comes until the answer's EOF.

    Raises asyncio.TimeoutError after `timeout` seconds, StreamReset, or LinkLost when the
    link takes no streams. However it ends, no stream is left.
    """
    with peer.one_flight():
        stream = peer.open(kind, target, data=payload[:INITIAL_WINDOW])
        answer = Message(stream)
        answer.send(payload[INITIAL_WINDOW:])
    try:
        # Not wait_for: until Python 3.12 it drops a cancellation that comes with the answer.
        answered, _ = await asyncio.wait((answer.done,), timeout=timeout)
        if not answered:
            raise asyncio.TimeoutError
        return answer.done.result()
    finally:
        stream.reset(Reason.CANCELLED)  # nothing happens if it has ended
        answer.done.cancel()  # nor here


class Message:
    """Gathers what the other end sends on a stream until its EOF; becomes the stream's handler.

    For the answering end too: `await message.done`, then `message.answer` or `stream.reset`.
    """

    def __init__(self, stream: Stream) -> None:
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        """The message, or StreamReset."""
        self._stream = stream
        self._parts = bytearray()
        self._outbox = Outbox(stream, LONGEST_MESSAGE)
        stream.handler = self

    def send(self, data: Buffer) -> None:
        """Send the message, or what is left of it, and the EOF; as soon as there is credit."""
        now = data[: self._stream.credit]
        self._stream.send(now)
        self._outbox.put(data[len(now) :])
        self._outbox.put_eof()

    def answer(self, data: Buffer) -> None:
        """Accept the stream, which the other end opened, and send the message."""
        with self._stream.one_flight():
            self._stream.accept()
            self.send(data)

    def accepted(self) -> None:
        """Wait for the message itself."""

    def credit(self) -> None:
        """Send what waits."""
        self._outbox.push()

    def data(self, data: Buffer) -> None:
        """Gather; messages are short."""
        self._parts += data
        self._stream.consumed(len(data))
        if len(self._parts) > LONGEST_MESSAGE:
            self._stream.reset(Reason.EXHAUSTED)
            self.reset(Reason.EXHAUSTED)

    def eof(self) -> None:
        """The message is complete."""
        if not self.done.done():
            self.done.set_result(bytes(self._parts))

    def reset(self, reason: Reason) -> None:
        """There will be no message."""
        self._outbox.clear()
        if not self.done.done():
            self.done.set_exception(StreamReset(reason))
