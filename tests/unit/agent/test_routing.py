"""An agent with a router: it hands it tables, and opens ports for who takes part."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.unit.agent.running import LONG_GRACE_SECONDS, SECONDS, Running, agent
from towline.agent.router import ADMIN
from towline.agent.routing import TABLE, pack
from towline.agent.telling import away
from towline.relay.peer import Peer
from towline.relay.request import request
from towline.wire.frames import Buffer, Kind, Reason
from towline.wire.target import Claim, Port

STAT = "cluster_manager.cds"
FILE = "clusters.json"


class FakeRouter:
    """What an Envoy does that watches the files of a folder, and its admin interface.

    It refuses what has the word `wrong` in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.quit = asyncio.Event()
        self._rejected = 0
        self._version = ""
        self._refused = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = unquote(head.split(" ")[1])
        self.asked.append(path.partition("?")[0])
        if path == "/quitquitquit":
            self.quit.set()
        self._look()
        stats = {
            f"{STAT}.version_text": f'"{self._version}"',
            f"{STAT}.update_rejected": str(self._rejected),
            "http.admin.downstream_rq_total": str(len(self.asked)),
            "http.admin.downstream_rq_active": "1",
            "http.port-80.downstream_rq_total": "7",
            "http.port-80.downstream_rq_active": "0",
        }
        pattern = path.partition("filter=")[2]
        lines = [f"{k}: {v}\n" for k, v in stats.items() if re.search(pattern, k)]
        body = "".join(lines)
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        writer.close()

    def _look(self) -> None:
        content = (self.folder / FILE).read_text()
        if "wrong" not in content:
            self._version = json.loads(content)["version"]
        elif content != self._refused:
            self._refused = content
            self._rejected += 1


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[tuple[Running, FakeRouter]]:
    initial = {"folder": str(folder), "files": {FILE: '{"version": "0"}'}}
    router = FakeRouter(folder)
    server = await asyncio.start_unix_server(router.answer, str(folder / ADMIN))
    options = [f"--router={json.dumps(initial)}", "--quiet-seconds=0.2"]
    async with server, agent(LONG_GRACE_SECONDS, options=options) as running:
        yield running, router


def table(revision: int, *slots: int, content: str | None = None) -> dict[str, Any]:
    content = content or json.dumps({"version": str(revision)})
    listen = [{"port": slot, "original": None} for slot in slots]
    return {"revision": revision, "listen": listen, "files": [[FILE, content, STAT]]}


async def told(peer: Peer, table: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await request(peer, Kind.ROUTE, pack(table), SECONDS))
    return answer


class Claiming:
    """The handler of a claim."""

    def __init__(self) -> None:
        self.was_accepted = asyncio.Event()
        self.ended = asyncio.Event()

    def accepted(self) -> None:
        self.was_accepted.set()

    def data(self, data: Buffer) -> None:
        raise AssertionError

    def eof(self) -> None:
        raise AssertionError

    def credit(self) -> None:
        """Nothing is sent."""

    def reset(self, reason: Reason) -> None:
        self.ended.set()


def free_port() -> int:
    """One that the kernel gives to nobody who only connects, as it is with slots in a pod."""
    for port in random.sample(range(20001, 32768), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


async def test_the_newest_table_is_in_force_and_an_older_one_is_ignored(tmp_path: Path) -> None:
    async with place(tmp_path) as (running, _):
        peer = await running.connect()
        assert (await told(peer, table(2)))["revision"] == 2
        assert (await told(peer, table(1)))["revision"] == 2
        assert json.loads((tmp_path / FILE).read_text()) == {"version": "2"}
        peer.close()


async def test_a_table_that_the_router_refuses_leaves_all_as_it_was(tmp_path: Path) -> None:
    async with place(tmp_path) as (running, _):
        peer = await running.connect()
        await told(peer, table(1))
        answer = await told(peer, table(2, content="wrong"))
        assert answer["revision"] == 1
        assert FILE in answer["error"]
        assert json.loads((tmp_path / FILE).read_text()) == {"version": "1"}
        assert (await told(peer, table(3)))["revision"] == 3
        peer.close()


async def test_a_slot_is_listened_on_while_a_table_names_it(tmp_path: Path) -> None:
    slot = free_port()
    async with place(tmp_path) as (running, _):
        peer = await running.connect()
        claiming = Claiming()
        peer.open(Kind.CLAIM, Claim(Port(slot)).encode(), claiming)
        async with asyncio.timeout(SECONDS):
            await claiming.was_accepted.wait()
        answer = await told(peer, table(1, slot))
        assert answer["absent"] == {str(slot): 0.0}
        with suppress(ConnectionResetError):  # as nobody here takes it: maybe at once
            _, writer = await asyncio.open_connection("127.0.0.1", slot)
            writer.close()
        assert (await told(peer, table(2)))["absent"] == {}
        async with asyncio.timeout(SECONDS):
            await claiming.ended.wait()
        peer.close()


async def test_it_tells_for_how_long_nobody_has_been_there(tmp_path: Path) -> None:
    slot = free_port()
    async with place(tmp_path) as (running, _):
        peer = await running.connect()
        await told(peer, table(1, slot))
        first = (await told(peer, {"revision": 0}))["absent"][str(slot)]
        later = (await told(peer, {"revision": 0}))["absent"][str(slot)]
        assert 0 < first < later
        peer.close()


async def test_its_log_tells_of_each_who_has_a_slot(tmp_path: Path) -> None:
    slots = [free_port() for _ in range(2)]
    async with place(tmp_path) as (running, _):
        leaver, stayer = [await running.connect() for _ in slots]
        await told(stayer, table(1, *slots))
        for peer, slot in ((stayer, slots[0]), (leaver, slots[1])):
            claiming = Claiming()
            peer.open(Kind.CLAIM, Claim(Port(slot)).encode(), claiming)
            async with asyncio.timeout(SECONDS):
                await claiming.was_accepted.wait()
        leaver.abort()
        async with asyncio.timeout(SECONDS):
            while not (await told(stayer, {"revision": 0}))["absent"][str(slots[1])]:
                await asyncio.sleep(0.01)
        stayer.go_away("the session ends")
        await running.ended()
        assert away(running.log) == {slots[1]}


async def test_an_agent_that_is_started_again_goes_on_with_the_last_table(tmp_path: Path) -> None:
    slot = free_port()
    async with place(tmp_path) as (running, _):
        peer = await running.connect()
        await told(peer, table(5, slot))
        peer.close()
    async with agent(
        LONG_GRACE_SECONDS,
        options=[f"--router={json.dumps({'folder': str(tmp_path), 'files': {FILE: 'first'}})}"],
    ) as running:
        peer = await running.connect()
        answer = await told(peer, {"revision": 0})
        assert answer["revision"] == 5
        assert list(answer["absent"]) == [str(slot)]
        assert (tmp_path / FILE).read_text() != "first"
        peer.close()


async def test_its_first_files_are_there_before_it_is_ready(tmp_path: Path) -> None:
    async with place(tmp_path) as (running, _):
        (await running.connect()).close()
        assert (tmp_path / FILE).read_text() == '{"version": "0"}'
        assert (tmp_path / TABLE).exists()


async def test_at_the_end_the_router_is_drained_and_ended_as_well(tmp_path: Path) -> None:
    async with place(tmp_path) as (running, router):
        peer = await running.connect()
        peer.go_away("the session ends")
        async with asyncio.timeout(SECONDS):
            await router.quit.wait()
        assert await running.ended() == 0
        assert router.asked.index("/drain_listeners") < router.asked.index("/quitquitquit")


async def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    async with place(tmp_path) as (running, _):
        peer = await running.connect()
        claiming = Claiming()
        stream = peer.open(Kind.ROUTE, b"", claiming)
        stream.send(b"no table")
        stream.send_eof()
        async with asyncio.timeout(SECONDS):
            await claiming.ended.wait()
        peer.close()
