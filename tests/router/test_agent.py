"""What an agent does with its router, a real one: it hands it files, drains it and ends it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.router import envoys, http1, http2
from tests.router.test_changes import held
from towline.agent.router import File, Refused
from towline.routing import envoy
from towline.routing.rules import Match
from towline.routing.table import Participant
from towline.wire.target import Port

QUIET_SECONDS = 0.3


async def test_files_that_envoy_refuses_leave_all_as_it_was(scene):
    await scene.join("ada", "header:x-tow=ada")
    table = scene.router.table
    eve = Participant(
        "eve", "eve@desk", "", (Match.parse("path=/eve"),), {Port(scene.router.port): 1}
    )
    wanted = [File(*each) for each in envoy.files(table.joining(eve))]
    content = wanted[-1].content.replace('"prefix":""', '"safe_regex":{"regex":"("}')
    broken = wanted[-1]._replace(content=content)
    with pytest.raises(Refused, match=r"refuses port-\d+\.json"):
        await scene.router.agents.take([*wanted[:-1], broken], str(table.revision + 1))
    assert (await scene.ask("GET /", "X-Tow: ada")).json()["who"] == "ada"
    assert (await scene.ask("GET /eve")).json()["who"] == "original"
    await scene.join("eve", "path=/eve")
    assert (await scene.ask("GET /eve")).json()["who"] == "eve"


async def test_router_that_drains_ends_what_is_under_way_and_sends_clients_elsewhere(scene):
    scene.original.handler = held
    async with scene.connected() as busy, scene.connected() as kept:
        busy.send("GET /")
        assert (await http1.read_head(busy.reader)).status == 200
        scene.original.handler = http1.tell
        assert not (await kept.ask()).values("connection")
        async with asyncio.TaskGroup() as tasks:
            drained = tasks.create_task(scene.router.agents.drain(QUIET_SECONDS))
            # Until all nodes know, there are new connections still.
            while (await scene.ask()).values("connection") != ["close"]:
                await asyncio.sleep(0.01)
            assert (await kept.ask()).values("connection") == ["close"]
            await asyncio.sleep(2 * QUIET_SECONDS)
            assert not drained.done()
            scene.original.released.set()
            assert await busy.reader.readexactly(2) == b"ab"
            busy.writer.close()
        await scene.router.agents.quit()


async def test_streams_of_http_2_end_well_while_the_router_drains(tmp_path):
    async with AsyncExitStack() as stack:
        original = await stack.enter_async_context(http2.Server("original").listening())
        port = envoys.routed(original.port)
        router = await stack.enter_async_context(envoys.running(tmp_path / "router", port))
        client = await stack.enter_async_context(http2.connected(port.port))
        stream = client.open()
        client.send(stream.id, b"one")
        assert await stream.data.get() == b"one"
        async with asyncio.TaskGroup() as tasks:
            drained = tasks.create_task(router.agents.drain(QUIET_SECONDS))
            await asyncio.sleep(2 * QUIET_SECONDS)
            client.send(stream.id, b"two")
            assert await stream.data.get() == b"two"
            assert not drained.done()
            client.send(stream.id, b"", end=True)
            await stream.ended.wait()
            assert not stream.reset
            assert stream.trailers["grpc-status"] == "0"
            client.close()
