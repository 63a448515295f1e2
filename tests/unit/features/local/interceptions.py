"""An agent's port with an original behind it, and sessions that serve a program, on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from towline.agent.intercept import Intercepted
from towline.agent.server import Agent
from towline.features.local.delivery import Delivery, Preface
from towline.relay.peer import Peer
from towline.wire.mux import Mux
from towline.wire.target import Port, Target

SECONDS = 20.0  # until a test that hangs fails


@dataclass
class Origin:
    """A server that tells its name, then gives back in capitals what it gets.

    It notes what each client has said, to the end or the reset. It reads while `reading` is set.
    """

    name: str
    port: int = 0
    server: asyncio.Server | None = None
    clients: int = 0
    ended: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    """For each client that has ended, what it said; None if that was cut off."""
    reading: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        self.reading.set()
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients += 1
        said = bytearray()
        try:
            writer.write(self.name.encode())
            while await self.reading.wait() and (data := await reader.read(1 << 16)):
                said += data
                writer.write(data.upper())
                await writer.drain()
        except ConnectionResetError:
            self.ended.put_nowait(None)
        else:
            self.ended.put_nowait(bytes(said))
        finally:
            writer.close()


@dataclass
class Ground:
    """An agent with one port, the original behind it, and a program that a session serves."""

    agent: Agent
    link: int
    port: int
    original: Origin
    program: Origin
    group: asyncio.TaskGroup

    async def session(
        self, port: int | None = None, *, copy: bool = False, preface: Preface | None = None
    ) -> tuple[Peer, Delivery]:
        """A session that claims the port, or another, or wants copies of what is said there."""
        program = Target("127.0.0.1", self.program.port)
        delivery = Delivery(
            {Port(port or self.port): program}, self.group, copy=copy, preface=preface
        )
        _, peer = await asyncio.get_running_loop().create_connection(
            lambda: Peer(Mux(client=True), on_opened=delivery.opened), "127.0.0.1", self.link
        )
        await peer.ready()
        delivery.claim(peer)
        return peer, delivery

    async def ask(self, words: bytes = b"hello") -> bytes:
        """What a client gets for its words, to the end; raises ConnectionResetError."""
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(words)
                writer.write_eof()
                return await reader.read()
            finally:
                writer.close()


@asynccontextmanager
async def ground(*, has_original: bool = True) -> AsyncIterator[Ground]:
    original, program = Origin("original:"), Origin("program:")
    await original.start()
    await program.start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    target = Target("127.0.0.1", original.port) if has_original else None
    async with AsyncExitStack() as stack:
        agent = Agent(600, [Intercepted(Port(port), target)])
        stack.push_async_callback(agent.close)
        await agent.interception.start()
        server = await asyncio.get_running_loop().create_server(agent.accept, "127.0.0.1", 0)
        stack.callback(server.close)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        link = server.sockets[0].getsockname()[1]
        yield Ground(agent, link, port, original, program, group)
        for origin in (original, program):
            assert origin.server
            origin.server.close()
