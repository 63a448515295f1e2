"""Who may send on a busy link: those that wait, one after the other."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from towline.relay.stream import Stream

# What a stream may send in one turn.
TURN_BYTES = 64 * 1024


class Turns:
    """The queue of a link, which asks `is_busy` whether it takes any more now."""

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        self._is_busy = is_busy
        self._waiting: deque[Stream] = deque()  # each with what it has read
        self._whose: Stream | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def may_send(self, stream: Stream) -> bool:
        """Whether a stream may send now; else it is put in the queue for a turn."""
        if self._whose is stream:
            self._whose = None
            return True
        if not (self._waiting or self._is_busy()):
            return True
        if not stream.waiting:
            stream.waiting = True
            self._waiting.append(stream)
        return False

    def give(self) -> None:
        """Give turns, each for one `send`, for as long as the link takes more."""
        while self._waiting and not self._is_busy():
            stream = self._waiting.popleft()
            stream.waiting = False
            if stream.closed or stream.handler is None:
                continue
            self._whose = stream
            stream.handler.credit()
        self._whose = None

    def clear(self) -> None:
        """Let nobody wait any more."""
        self._waiting.clear()
