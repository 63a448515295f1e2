"""What is to go out on a stream without ever holding back whoever says it."""

from __future__ import annotations

from towline.relay.stream import Stream
from towline.relay.turns import TURN_BYTES
from towline.wire.frames import Buffer


class Allowance:
    """What may wait in several outboxes together, in bytes.

    What waits is counted by the allowance that this one is `within` as well, with others like it.
    There none may have more than it leaves for all others.
    """

    def __init__(self, size: int, *, within: Allowance | None = None) -> None:
        self._size = size
        self._within = within
        self._taken = 0

    @property
    def left(self) -> int:
        """How many more may wait; negative if too many do."""
        left = self._size - self._taken
        if self._within is not None:
            left = min(left, (self._within.left - self._taken) // 2)
        return left

    def take(self, size: int) -> None:
        """Note that so many more wait, or, if negative, fewer."""
        self._taken += size
        if self._within is not None:
            self._within.take(size)


class Outbox:
    """Bytes for a stream: they go as credit and the link allow, and wait within a bound.

    The stream's handler calls :meth:`push` for its credit, and :meth:`clear` at its end.
    `most` bytes may wait here, and all that `allowance` has left.
    """

    def __init__(self, stream: Stream, most: int, allowance: Allowance | None = None) -> None:
        self._stream = stream
        self._most = most
        self._allowance = allowance or Allowance(most)
        self._waiting = bytearray()
        self._eof = False

    def put(self, data: Buffer) -> bool:
        """Send data, soon or in its turn; False, and nothing of it is sent, if it is too much."""
        if self._stream.closed:
            return True  # as all that is sent on a stream that has ended
        if len(data) > min(self._most - len(self._waiting), self._allowance.left):
            return False
        self._waiting += data
        self._allowance.take(len(data))
        self.push()
        return True

    def put_eof(self) -> None:
        """Send no more than what waits."""
        self._eof = True
        self.push()

    def push(self) -> None:
        """Send what waits, a turn at a time."""
        while self._waiting:
            size = min(len(self._waiting), self._stream.credit, TURN_BYTES)
            if not size or not self._stream.may_send():
                return
            self._stream.send(bytes(self._waiting[:size]))
            self._remove(size)
        if self._eof:
            self._stream.send_eof()

    def clear(self) -> None:
        """Drop what waits."""
        self._remove(len(self._waiting))

    def _remove(self, size: int) -> None:
        del self._waiting[:size]
        self._allowance.take(-size)
