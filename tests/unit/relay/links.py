"""Two ends of a link for tests: over loopback, and in memory under the control of the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from towline.relay.peer import Peer
from towline.relay.splice import Splice, reason_of
from towline.relay.stream import Stream
from towline.wire.frames import Buffer, Kind, Reason
from towline.wire.mux import Mux
from towline.wire.target import Target

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
WINDOW = 512 * 1024  # of links in memory: enough to fill a transport
SECONDS = 20.0  # until a test that hangs fails


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    return near, far


class Tunnel:
    """A whole way: a listener, a link, an end that dials, and the origin it dials."""

    def __init__(self, serve: Serve, limits: dict[str, int]) -> None:
        self.serve = serve
        self.limits = limits
        self.closed: list[Reason | None] = []  # what each splice of the near end came to
        self.far_closed: list[Reason | None] = []
        self.near: Peer
        self.far: Peer
        self.port = 0
        self.origin_port = 0
        self._dials: set[asyncio.Task[None]] = set()
        self._served: set[asyncio.Task[Any]] = set()

    async def start(self, stack: contextlib.AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        # A backlog that overflows makes the kernel use SYN cookies, which can lose tiny payloads.
        origin = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1000)
        stack.push_async_callback(stopped, origin)
        self.origin_port = origin.sockets[0].getsockname()[1]
        near, far = tcp_pair()
        _, self.near = await loop.create_connection(
            lambda: Peer(Mux(client=True, **self.limits)), sock=near
        )
        _, self.far = await loop.create_connection(
            lambda: Peer(Mux(client=False, **self.limits), on_opened=self._opened), sock=far
        )
        listener = await loop.create_server(self._accept, "127.0.0.1", 0, backlog=1000)
        stack.push_async_callback(stopped, listener)
        self.port = listener.sockets[0].getsockname()[1]
        stack.callback(self.far.abort)
        stack.callback(self.near.abort)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that goes all the way to the origin."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def finished(self, count: int) -> None:
        """Wait until so many connections are over at both ends and with the origin."""
        async with asyncio.timeout(SECONDS):
            while min(len(self.closed), len(self.far_closed)) < count or self._served:
                await asyncio.sleep(0.001)

    def _accept(self) -> Splice:
        target = Target("127.0.0.1", self.origin_port)
        return Splice(self.near.open(Kind.TCP, target.encode()), on_closed=self.closed.append)

    def _opened(self, stream: Stream, _: Kind, target: bytes) -> None:
        splice = Splice(stream, on_closed=self.far_closed.append)
        task = asyncio.create_task(dial(splice, Target.decode(target)))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._served.add(task)
        try:
            await self.serve(reader, writer)
        finally:
            self._served.discard(task)
            await closed(writer)


async def dial(splice: Splice, target: Target) -> None:
    """Connect the splice, or reset it with the reason."""
    try:
        await asyncio.get_running_loop().create_connection(lambda: splice, target.host, target.port)
    except OSError as error:
        splice.reset(reason_of(error))


@contextlib.asynccontextmanager
async def tunnel(serve: Serve, **limits: int) -> AsyncIterator[Tunnel]:
    """A running tunnel to an origin whose connections are served by `serve`."""
    made = Tunnel(serve, limits)
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(SECONDS):
        await made.start(stack)
        yield made


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection, however it has ended."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def stopped(server: asyncio.Server) -> None:
    """Close a listener."""
    server.close()
    await server.wait_closed()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class MemoryTransport(asyncio.Transport):
    """A transport of a link that keeps what is written until the test carries it over."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.writes: list[bytes] = []
        self.high = 0
        self.paused = False
        self.ended = False
        protocol.connection_made(self)

    def write(self, data: Buffer) -> None:
        self.writes.append(bytes(data))
        if self.get_write_buffer_size() > self.high and not self.paused:
            self.paused = True
            self.protocol.pause_writing()

    def take(self) -> bytes:
        """What was written since, as if the network had taken it."""
        taken = b"".join(self.writes)
        self.writes.clear()
        if self.paused:
            self.paused = False
            self.protocol.resume_writing()
        return taken

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.writes))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0

    def is_closing(self) -> bool:
        return self.ended

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.ended:
            self.ended = True
            self.protocol.connection_lost(None)


class LocalTransport(asyncio.Transport):
    """The local side of a splice: notes what happens to it; writes wait until `drain`."""

    def __init__(self, splice: Splice) -> None:
        super().__init__()
        self.splice = splice
        self.waiting = bytearray()
        self.drained = bytearray()
        self.high = 0
        self.full = False
        self.reading = True
        self.ends: list[str] = []
        splice.connection_made(self)

    def write(self, data: Buffer) -> None:
        self.waiting += data
        if len(self.waiting) > self.high and not self.full:
            self.full = True
            self.splice.pause_writing()

    def drain(self) -> None:
        """Let the reader take all."""
        while self.waiting:
            self.drained += self.waiting
            self.waiting.clear()
            if self.full:
                self.full = False
                self.splice.resume_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write_eof(self) -> None:
        self.ends.append("eof")

    def is_closing(self) -> bool:
        return "closed" in self.ends or "aborted" in self.ends

    def close(self) -> None:
        self.ends.append("closed")

    def abort(self) -> None:
        self.ends.append("aborted")


class Recorder:
    """A handler that notes what a stream told it."""

    def __init__(self, stream: Stream) -> None:
        stream.handler = self
        self.stream = stream
        self.told: list[Any] = []

    def accepted(self) -> None:
        self.told.append("accepted")

    def data(self, data: Buffer) -> None:
        self.told.append(bytes(data))

    def eof(self) -> None:
        self.told.append("eof")

    def reset(self, reason: Reason) -> None:
        self.told.append(reason)

    def credit(self) -> None:
        self.told.append("credit")


class Memory:
    """Two peers over transports in memory; nothing moves until `carry` is called."""

    def __init__(self, **options: Any) -> None:
        self.opened: list[Recorder] = []
        self.on_opened = self.record  # what the far end does with a new stream
        self.near = Peer(Mux(client=True, initial_window=WINDOW), **options)
        self.far = Peer(Mux(client=False, initial_window=WINDOW), on_opened=self._opened)
        self.near_transport = MemoryTransport(self.near)
        self.far_transport = MemoryTransport(self.far)

    async def carry(self) -> None:
        """Carry all bytes over, both ways, until neither end has more to say."""
        quiet = 0
        while quiet < 3:  # turns of the loop: a task starts, sends, and what it sent is gathered
            await asyncio.sleep(0)
            up, down = self.near_transport.take(), self.far_transport.take()
            if up:
                self.far.data_received(up)
            if down:
                self.near.data_received(down)
            quiet = 0 if up or down else quiet + 1

    async def stream(self) -> tuple[Recorder, Recorder]:
        """An accepted stream: its two ends, which have noted nothing yet."""
        near = Recorder(self.near.open(Kind.TCP))
        await self.carry()
        far = self.opened[-1]
        far.stream.accept()
        await self.carry()
        near.told.clear()
        far.told.clear()
        return near, far

    def _opened(self, stream: Stream, kind: Kind, target: bytes) -> None:
        self.on_opened(stream, kind, target)

    def record(self, stream: Stream, kind: Kind, target: bytes) -> None:
        """Note what a new stream is told."""
        self.opened.append(Recorder(stream))
        self.opened[-1].told.append((kind, target))


@contextlib.asynccontextmanager
async def memory(**options: Any) -> AsyncIterator[Memory]:
    """Two peers that have said hello."""
    made = Memory(**options)
    await made.carry()
    try:
        yield made
    finally:
        made.near.abort()
        made.far.abort()
