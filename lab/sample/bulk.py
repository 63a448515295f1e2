"""For measuring: the first byte of a connection picks what the rest of it is.

u   a sink; says how much it has so far, as 20 digits, every 0.1 s and at the end
d   a source of zeros until the client closes
e   an echo, for latency
"""

from __future__ import annotations

import asyncio
from typing import cast

_PIECE_BYTES = 1 << 18
_REPORT_SECONDS = 0.1
_ZEROS = memoryview(bytes(_PIECE_BYTES))


class Choice(asyncio.Protocol):
    """Reads the first byte and hands the connection over."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the byte."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand over, with what came behind the byte."""
        chosen = {b"u": Sink, b"d": Source, b"e": Echo}.get(data[:1])
        if chosen is None:
            self._transport.abort()
            return
        self._transport.set_protocol(chosen(self._transport, data[1:]))


class Sink(asyncio.BufferedProtocol):
    """Counts what comes."""

    def __init__(self, transport: asyncio.Transport, data: bytes) -> None:
        self._transport = transport
        self._buffer = bytearray(_PIECE_BYTES)
        self._count = len(data)
        self._timer = self._soon()

    def get_buffer(self, _size_hint: int) -> bytearray:
        """Where to put what comes: always the same place."""
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        """Count."""
        self._count += size

    def eof_received(self) -> bool:
        """Report the total."""
        self._transport.write(b"%020d" % self._count)
        self._transport.close()
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        """Stop reporting."""
        self._timer.cancel()

    def _soon(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(_REPORT_SECONDS, self._report)

    def _report(self) -> None:
        self._transport.write(b"%020d" % self._count)
        self._timer = self._soon()


class Source(asyncio.Protocol):
    """Sends zeros as fast as they are taken."""

    def __init__(self, transport: asyncio.Transport, _data: bytes) -> None:
        self._transport = transport
        self._paused = False
        self._fill()

    def pause_writing(self) -> None:
        """Enough for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        self._fill()

    def _fill(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._transport.write(_ZEROS)
            # In turns, so that one fast reader does not keep the others waiting.
            asyncio.get_running_loop().call_soon(self._fill)


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def __init__(self, transport: asyncio.Transport, data: bytes) -> None:
        self._transport = transport
        if data:
            transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Echo."""
        self._transport.write(data)

    def pause_writing(self) -> None:
        """The client does not read."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._transport.resume_reading()
