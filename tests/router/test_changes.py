"""Participants come and go: nobody else's streams and requests notice."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.router import envoys, http1, http2
from tests.router.test_streams import in_turns, upgrade

ADA = ("X-Tow: ada",)
COMERS = 20
STREAMS = 50


async def held(exchange: http1.Exchange) -> None:
    """Answer in two halves, the second one only when the test says so."""
    exchange.send("200 OK", "Content-Length: 2", body=b"a")
    await exchange.writer.drain()
    await exchange.server.released.wait()
    exchange.writer.write(b"b")


async def test_requests_under_way_end_well_when_their_participant_goes(scene):
    """And what is idle is closed at once, so that nothing waits for those who have gone."""
    ada = await scene.join("ada", "header:x-tow=ada", handler=held)
    async with scene.connected() as busy, scene.connected() as other:
        busy.send("GET /", *ADA)
        head = await http1.read_head(busy.reader)
        assert (head.status, await busy.reader.readexactly(1)) == (200, b"a")
        ada.handler = http1.tell
        assert (await other.ask("GET /", *ADA)).json()["who"] == "ada"
        assert ada.open == {0, 1}

        await scene.router.become(scene.router.table.leaving("ada"))
        assert (await other.ask("GET /", *ADA)).json()["who"] == "original"
        await scene.router.become(scene.router.table.without("ada"))
        while ada.open != {0}:
            await asyncio.sleep(0.01)
        # For as long as it takes, over all that others do.
        eve = await scene.join("eve", "header:x-tow=eve")
        await scene.router.leave("eve")
        assert not eve.open

        ada.released.set()
        assert await busy.reader.readexactly(1) == b"b"
        assert (await busy.ask("GET /", *ADA)).json()["who"] == "original"
        while ada.open:
            await asyncio.sleep(0.01)


async def test_who_gets_the_port_of_somebody_else_gets_none_of_their_requests(scene):
    ada = await scene.join("ada", "header:x-tow=ada")
    await scene.ask("GET /", *ADA)
    await scene.router.become(scene.router.table.leaving("ada"))
    await scene.router.become(scene.router.table.without("ada"))
    await scene.router.join("eve", "header:x-tow=eve", slots=[ada.port])
    ada.name = "eve"
    assert (await scene.ask("GET /", *ADA)).json()["who"] == "original"
    told = (await scene.ask("GET /", "X-Tow: eve")).json()
    assert (told["who"], told["connection"]) == ("eve", 1)


async def test_streams_of_others_go_on_while_many_come_and_go(scene):
    scene.original.handler = in_turns
    ada = await scene.join("ada", "header:x-tow=ada", handler=in_turns)
    eve = await scene.join("eve", "header:x-tow=eve", handler=upgrade)
    async with AsyncExitStack() as stack:
        streams = [await _streaming(scene, stack, number) for number in range(STREAMS)]
        for number in range(COMERS):
            await scene.join(f"p{number}", f"path=/{number}")
            if number % 2:
                await scene.router.leave(f"p{number - 1}")
            for stream in streams:
                await stream(b"round %d" % number)
        # None has been begun anew.
        begun = sum(len(each.requests) for each in (scene.original, ada, eve))
        assert begun == STREAMS


async def _streaming(scene, stack: AsyncExitStack, number: int):
    """A stream to one of the three; what it returns says something and waits for the answer."""
    client = await stack.enter_async_context(scene.connected())
    header = ((), ("X-Tow: ada",), ("X-Tow: eve",))[number % 3]
    if number % 3 == 2:
        client.send("GET /", "Connection: Upgrade", "Upgrade: websocket", *header)
        assert (await http1.read_head(client.reader)).status == 101

        async def websocket(data: bytes) -> None:
            client.writer.write(data)
            assert await client.reader.readexactly(2 * len(data)) == data * 2

        return websocket
    client.send("POST /", "Transfer-Encoding: chunked", *header)
    assert (await http1.read_head(client.reader)).status == 200

    async def events(data: bytes) -> None:
        chunk = b"%x\r\n%s\r\n" % (len(data), data)
        client.writer.write(chunk)
        assert await client.reader.readexactly(len(chunk)) == chunk.replace(data, data.upper())

    return events


async def test_streams_of_one_http2_connection_go_on_while_their_neighbours_participant_goes(
    tmp_path,
):
    async with AsyncExitStack() as stack:
        servers = [http2.Server(name) for name in ("original", "ada", "eve")]
        for server in servers:
            await stack.enter_async_context(server.listening())
        port = envoys.routed(servers[0].port)
        router = await stack.enter_async_context(envoys.running(tmp_path / "router", port))
        for server in servers[1:]:
            await router.join(server.name, f"header:x-tow={server.name}", slots=[server.port])
        client = await stack.enter_async_context(http2.connected(port.port))
        streams = {name: client.open(("x-tow", name)) for name in ("none", "ada", "eve")}
        for stream in streams.values():
            client.send(stream.id, b"one")
            assert await stream.data.get() == b"one"

        await router.leave("ada")
        for stream in streams.values():
            client.send(stream.id, b"two", end=True)
            assert await stream.data.get() == b"two"
            await stream.ended.wait()
            assert not stream.reset
        assert streams["ada"].trailers["grpc-message"] == "ada"
        assert (await client.call(("x-tow", "ada"))).headers["who"] == "original"


@pytest.mark.parametrize("headers", [(), ("X-Tow: ada",)], ids=["original", "participant"])
async def test_no_request_of_others_is_lost_while_many_come_and_go(scene, headers):
    await scene.join("ada", "header:x-tow=ada")
    expected = "ada" if headers else "original"
    done = asyncio.Event()

    async def load() -> int:
        count = 0
        async with scene.connected() as client:
            while not done.is_set():
                answered = await client.ask("GET /", *headers)
                assert answered.json()["who"] == expected
                count += 1
        return count

    async with asyncio.TaskGroup() as tasks:
        loads = [tasks.create_task(load()) for _ in range(8)]
        for number in range(COMERS):
            await scene.join(f"p{number}", f"header:x-tow=p{number}")
            assert (await scene.ask("GET /", f"X-Tow: p{number}")).json()["who"] == f"p{number}"
        for number in range(COMERS):
            await scene.router.leave(f"p{number}")
            told = await scene.ask("GET /", f"X-Tow: p{number}")
            assert told.json()["who"] == "original"
        done.set()
    assert sum(each.result() for each in loads) > COMERS
    assert len(scene.router.table.participants) == 1
