"""A real Envoy on loopback, told of tables as the agent in a pod would tell it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

import lab.envoy
from towline.agent import router
from towline.routing import envoy
from towline.routing.protocols import Speaks, ToldBy
from towline.routing.rules import Match
from towline.routing.table import Participant, RoutedPort, Table
from towline.wire.target import Port, Target

READY_SECONDS = 60


@dataclass
class Router:
    """An Envoy that runs, and the table that it has."""

    table: Table
    folder: Path
    session: aiohttp.ClientSession

    @property
    def agents(self) -> router.Router:
        """The router as an agent sees it."""
        return router.Router(self.folder)

    @property
    def port(self) -> int:
        """Where clients come to, if there is one port only."""
        return self.table.ports[0].port

    async def become(self, table: Table) -> None:
        """Have a table in force. Raises the agent's Refused."""
        files = [router.File(*each) for each in envoy.files(table)]
        await self.agents.take(files, str(table.revision))
        self.table = table

    async def join(self, id_: str, *match: str, slots: Collection[int] = (), **more) -> None:
        """Let somebody take part whose program listens on `slots`, for one routed port each."""
        numbers = dict(zip([Port(each.port) for each in self.table.ports], slots, strict=False))
        rules = tuple(map(Match.parse, match))
        who = Participant(id_, f"{id_}@laptop", "", rules, numbers, **more)
        everybody = (*self.table.participants, who)
        await self.become(Table(self.table.ports, everybody, self.table.revision + 1))

    async def leave(self, id_: str) -> None:
        """Let somebody leave, in both steps."""
        await self.become(self.table.leaving(id_))
        await self.become(self.table.without(id_))

    async def statistic(self, name: str) -> str:
        return (await self.statistics(name)).get(name, "0")

    async def statistics(self, name: str) -> dict[str, str]:
        async with self.session.get("http://x/stats", params={"filter": name}) as answer:
            lines = (await answer.text()).splitlines()
        return {key: it.strip('"') for key, it in (line.split(": ", 1) for line in lines)}

    async def settled(self, name: str, value: int) -> None:
        """Wait until a statistic has a value."""
        while int(await self.statistic(name)) != value:
            await asyncio.sleep(0.01)


def routed(original: int, speaks: Speaks = Speaks.HTTP, **more) -> RoutedPort:
    """A port of the router, for the originals at a port of this machine."""
    return RoutedPort(
        free_port(), speaks, ToldBy.NAME, free_port(), Target("127.0.0.1", original), **more
    )


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@asynccontextmanager
async def running(folder: Path, *ports: RoutedPort, tls_folder: Path | None = None):
    """An Envoy, from when it is ready on."""
    folder.mkdir()
    table = Table(ports)
    for file in envoy.files(table):
        (folder / file.name).write_text(file.content)
    arguments = envoy.arguments(ports, str(folder), tls_folder=str(tls_folder or ""))
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [lab.envoy.program(), *arguments], stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
    connector = aiohttp.UnixConnector(str(folder / envoy.ADMIN_SOCKET))
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            async with asyncio.timeout(READY_SECONDS):
                while not await _is_ready(session):
                    assert process.poll() is None, log.read_text()
                    await asyncio.sleep(0.02)
            yield Router(table, folder, session)
    finally:
        process.kill()
        process.wait()


async def _is_ready(session: aiohttp.ClientSession) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        async with session.get("http://x/ready") as answer:
            return answer.status == 200
    return False
