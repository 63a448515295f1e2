"""What one end of a link knows of one stream: its state and its two windows."""

from __future__ import annotations


class StreamState:
    """One stream, from OPEN until both ends have sent EOF or either has reset it.

    `credit` is what may be sent. What may be received is counted in three parts that make up
    the `window`: `granted` (the peer may still send it), received but not consumed yet
    (`unread`), and `freed` (consumed, but not granted again yet).
    """

    __slots__ = (
        "accepted",
        "credit",
        "eof_received",
        "eof_sent",
        "freed",
        "granted",
        "ours",
        "window",
    )

    def __init__(self, window: int, *, ours: bool) -> None:
        self.ours = ours
        self.accepted = False
        self.eof_sent = False
        self.eof_received = False
        self.credit = window
        self.window = window
        self.granted = window
        self.freed = 0

    @property
    def unread(self) -> int:
        """Bytes received and not consumed."""
        return self.window - self.granted - self.freed

    def free(self, size: int) -> int:
        """Note that `size` bytes were consumed; return what is to be granted now, perhaps 0.

        Grants are gathered up to a quarter of the window: few frames, and the sender still
        has most of the window to go on with.
        """
        self.freed += size
        return self._grant() if self.freed * 4 >= self.window else 0

    def grow(self, most: int) -> int:
        """Double the window, but by no more than `most` bytes; return what is to be granted now."""
        growth = min(self.window, most)
        if not growth:
            return 0
        self.window += growth
        self.freed += growth
        return self._grant()

    def keeps_up(self) -> bool:
        """Whether the reader has consumed most of what was received."""
        return self.unread * 4 <= self.window

    def error(self) -> str:
        """Return what is wrong with data, or an EOF, that has just come."""
        if self.eof_received:
            return "data after its end"
        if self.granted < 0:
            return f"{-self.granted} bytes over its window"
        return "data before it was accepted"

    def _grant(self) -> int:
        granted, self.freed = self.freed, 0
        self.granted += granted
        return granted
