"""A TCP proxy that puts a round-trip time between its two ends: a stand-in for netem, which
many kernels lack. It models the delay, not loss or TCP's own windows.

    python -m lab.delay HOST LISTEN_PORT TARGET_PORT RTT_MS
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from enum import Enum, auto
from functools import partial
from typing import cast

# Bytes on the way in one direction; above, the sender waits. 1 Gbit/s for half a second.
IN_FLIGHT_BYTES = 64 << 20
_WRITE_BUFFER_BYTES = 1 << 20


class Mark(Enum):
    """What travels beside data."""

    EOF = auto()
    CLOSED = auto()


class Direction:
    """What one end has sent and the other has yet to get, each piece with its time."""

    def __init__(self, delay_seconds: float) -> None:
        self._delay = delay_seconds
        self._pieces: deque[tuple[float, bytes | Mark]] = deque()
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self.source: asyncio.Transport | None = None
        self.target: asyncio.Transport | None = None
        self.blocked = False
        self.opens_at = 0.0

    def put(self, piece: bytes | Mark) -> None:
        """Take what the source has sent."""
        now = asyncio.get_running_loop().time()
        self._pieces.append((max(now, self.opens_at) + self._delay, piece))
        if isinstance(piece, bytes):
            self._size += len(piece)
        if self._size > IN_FLIGHT_BYTES and self.source is not None:
            self.source.pause_reading()
        if self._timer is None:
            self.deliver()

    def deliver(self) -> None:
        """Hand over what is due, and come back when the next piece is."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.target is None:
            return
        while self._pieces and not self.blocked:
            due, piece = self._pieces[0]
            if due > loop.time():
                self._timer = loop.call_at(due, self.deliver)
                return
            self._pieces.popleft()
            self._hand_over(self.target, piece)

    def _hand_over(self, target: asyncio.Transport, piece: bytes | Mark) -> None:
        if piece is Mark.CLOSED:
            target.close()
        elif piece is Mark.EOF:
            if target.can_write_eof() and not target.is_closing():
                target.write_eof()
        elif isinstance(piece, bytes):
            self._size -= len(piece)
            if not target.is_closing():
                target.write(piece)
            if self._size <= IN_FLIGHT_BYTES and self.source is not None:
                self.source.resume_reading()


class End(asyncio.Protocol):
    """One of the two connections: it fills `outward`, and `inward` fills it."""

    def __init__(self, outward: Direction, inward: Direction) -> None:
        self._outward = outward
        self._inward = inward

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to deliver what has been waiting for this end."""
        connection = cast(asyncio.Transport, transport)
        connection.set_write_buffer_limits(_WRITE_BUFFER_BYTES)
        self._outward.source = self._inward.target = connection
        self._inward.deliver()

    def data_received(self, data: bytes) -> None:
        """Send it on its way."""
        self._outward.put(data)

    def eof_received(self) -> bool:
        """Pass the end on; the other direction stays open."""
        self._outward.put(Mark.EOF)
        return True

    def pause_writing(self) -> None:
        """Let what comes for this end wait."""
        self._inward.blocked = True

    def resume_writing(self) -> None:
        """Go on."""
        self._inward.blocked = False
        self._inward.deliver()

    def connection_lost(self, _error: Exception | None) -> None:
        """The other end learns of it when the news has had the time to arrive."""
        self._outward.source = None
        self._inward.blocked = False
        self._inward.deliver()
        self._outward.put(Mark.CLOSED)


class Front(End):
    """The end that clients connect to. A handshake takes one round trip: what the client sends
    before counts as sent after it.
    """

    def __init__(self, host: str, target_port: int, delay_seconds: float) -> None:
        self._there, self._back = Direction(delay_seconds), Direction(delay_seconds)
        super().__init__(self._there, self._back)
        self._target = (host, target_port)
        self._delay = delay_seconds
        self._dialling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Dial the API server when the client's SYN would have arrived there."""
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self._there.opens_at = loop.time() + 2 * self._delay
        self._dialling = loop.create_task(self._dial(cast(asyncio.Transport, transport)))

    async def _dial(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._delay)
        try:
            back_end = partial(End, self._back, self._there)
            await loop.create_connection(back_end, *self._target)
        except OSError:
            transport.close()


async def serve(host: str, listen_port: int, target_port: int, rtt_ms: int) -> asyncio.Server:
    """Listen on one port of `host` and pass connections on to the other."""
    front = partial(Front, host, target_port, rtt_ms / 2000)
    return await asyncio.get_running_loop().create_server(front, host, listen_port)


async def main(host: str, *numbers: str) -> None:
    """Serve for ever."""
    server = await serve(host, *map(int, numbers))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
