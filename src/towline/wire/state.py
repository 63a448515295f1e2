"""What one end of a link knows of one stream: its state and its two windows."""

from __future__ import annotations


class StreamState:
    """One stream, from OPEN until both ends have sent EOF or either has reset it.

    `connection` says that it carries a program's connection, which may bring or take much.
    `credit` is what may be sent, `idle` whether nothing was of late. What may be received is
    counted in three parts that make up the `window`: `granted` (the peer may still send it),
    received but not consumed yet (`unread`), and `freed` (consumed, but not granted again yet).
    `blocked` says that the window holds the sender up, as far as is known. Until the reader has
    read `unproven` bytes more, the window has `trusted` bytes on trust.
    """

    __slots__ = (
        "accepted",
        "blocked",
        "connection",
        "credit",
        "eof_received",
        "eof_sent",
        "freed",
        "granted",
        "idle",
        "ours",
        "trusted",
        "unproven",
        "window",
    )

    def __init__(self, window: int, unproven: int, *, ours: bool, connection: bool) -> None:
        self.ours = ours
        self.connection = connection
        self.accepted = False
        self.eof_sent = False
        self.eof_received = False
        self.credit = window
        self.window = window
        self.granted = window
        self.freed = 0
        self.idle = False
        self.blocked = False
        self.trusted = 0
        self.unproven = unproven

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

    def grow(self, growth: int) -> int:
        """Enlarge the window; return what is to be granted now."""
        self.window += growth
        self.freed += growth
        return self._grant()

    def take_back(self, returned: int, least: int) -> None:
        """Note that the peer has returned credit: the window falls, to no less than `least`."""
        self.granted -= returned
        self.window -= returned
        spare = min(self.freed, max(0, self.window - least))
        self.freed -= spare
        self.window -= spare

    def end(self) -> None:
        """Note that the peer sends no more: what is unread is all that the window has to hold."""
        self.eof_received = True
        self.window = self.unread
        self.granted = self.freed = 0

    def keeps_up(self) -> bool:
        """Whether the reader has consumed at least half of what the window let come."""
        return self.unread * 2 <= self.window

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
