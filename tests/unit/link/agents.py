"""Real agents in this process, and the link to them over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from towline.agent.server import Agent
from towline.link.link import Link
from towline.relay.peer import Peer


class Log:
    def __init__(self) -> None:
        self.events: asyncio.Queue[str] = asyncio.Queue()

    def link_up(self) -> None:
        self.events.put_nowait("up")

    def link_down(self, reason: str) -> None:
        self.events.put_nowait("down")

    def link_failing(self, reason: str) -> None:
        self.events.put_nowait(f"failing: {reason}")


class Cluster:
    """Agents that can be lost; connects to the one that is there."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.attempts = 0
        self.port = 0
        self.agent = Agent(60)
        self.server: asyncio.Server | None = None

    async def start(self) -> None:
        self.agent = Agent(60)
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(self.agent.accept, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def lose(self) -> None:
        assert self.server is not None
        self.server.close()
        await self.agent.close()

    async def connect(self, factory) -> tuple[asyncio.Transport, Peer]:  # type: ignore[no-untyped-def]
        self.attempts += 1
        if self.failure:
            raise self.failure
        return await asyncio.get_running_loop().create_connection(factory, "127.0.0.1", self.port)


@asynccontextmanager
async def linked(transports: int = 2) -> AsyncIterator[tuple[Cluster, Link, Log]]:
    cluster, log = Cluster(), Log()
    await cluster.start()
    try:
        async with Link(cluster.connect, log, transports=transports) as link:
            await link.ready()
            assert await log.events.get() == "up"
            yield cluster, link, log
    finally:
        await cluster.lose()
