"""The end of a connection whose client has been told all."""

from __future__ import annotations

import asyncio
from contextlib import suppress

# So long it may go on saying something, which is dropped.
SECONDS = 2.0


def part(transport: asyncio.Transport, words: bytes) -> None:
    """Say this last, and close.

    Closed while something is unread, the client would be told of a reset instead.
    """
    if words:
        transport.write(words)
    transport.set_protocol(_Parting(transport))


class _Parting(asyncio.Protocol):
    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        if not transport.is_closing():
            with suppress(OSError):  # it has been reset
                transport.write_eof()
            transport.resume_reading()
        self._end = asyncio.get_running_loop().call_later(SECONDS, transport.abort)

    def eof_received(self) -> None:
        """It has ended, too."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """All is over."""
        self._end.cancel()
