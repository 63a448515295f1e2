"""Where the body of an HTTP/1 request ends, RFC 9112 section 6: behind it is another request."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?")
_LONGEST_LINE = 16 * 1024


class Body:
    """Passes a body on as it is, piece by piece, and nothing behind it."""

    def __init__(self, length: int, *, in_chunks: bool) -> None:
        self._left = length
        self._in_chunks = in_chunks
        self._line = b""
        self._trailing = False
        self._ended = not in_chunks and not length

    @classmethod
    def of_length(cls, length: int) -> Body:
        """One of so many bytes."""
        return cls(length, in_chunks=False)

    @classmethod
    def chunked(cls) -> Body:
        """One that says itself where it ends (section 7.1)."""
        return cls(0, in_chunks=True)

    def take(self, data: bytes) -> bytes:
        """Of what has come, what is the body's. What is malformed ends it."""
        return b"".join(self._pieces(data))

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        while data and not self._ended:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                self._ended = not self._in_chunks and not self._left
                yield piece
                continue
            line, end, rest = data.partition(b"\n")
            yield line + end
            self._line += line
            if len(self._line) > _LONGEST_LINE:
                self._ended = True
            data = rest
            if end:
                line, self._line = self._line.rstrip(b"\r"), b""
                self._take_line(line)

    def _take_line(self, line: bytes) -> None:
        """A size, or a line of the trailer, of which an empty one is the last."""
        if self._trailing:
            self._ended = not line
            return
        found = _SIZE.fullmatch(line)
        if found is None:
            self._ended = True
        elif size := int(found[1], 16):
            # With the end of line behind the chunk.
            self._left = size + 2
        else:
            self._trailing = True
