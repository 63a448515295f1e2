"""What is meant for a participant who is not there goes to the original pods, and says so."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

from tests.router import envoys, http1, http2

ADA = ("X-Tow: ada",)
SAID = "ada@laptop is not there; answered by the original pods"


@asynccontextmanager
async def passing_on(to: int, port: int = 0):
    """What the agent does with a connection that nobody takes."""

    async def splice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inward, outward = await asyncio.open_connection("127.0.0.1", to)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pump(reader, outward))
                tasks.create_task(_pump(inward, writer))
        finally:
            writer.close()
            outward.close()

    server = await asyncio.start_server(splice, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        target.write(data)
    target.write_eof()


async def test_what_the_agent_passes_on_is_answered_by_the_pods_with_a_header(scene):
    async with passing_on(scene.router.table.ports[0].fallback) as slot:
        await scene.router.join("ada", "header:x-tow=ada", slots=[slot])
        async with scene.connected() as client:
            for _ in range(3):
                answered = await client.ask("GET /", "Host: Web.Example", *ADA)
                assert answered.json()["who"] == "original"
                assert answered.values("x-towline") == [SAID]
                headers = dict(answered.json()["headers"])
                assert headers["x-forwarded-for"] == "127.0.0.1"
                assert headers["Host"] == "Web.Example"
            assert not (await client.ask()).values("x-towline")


async def test_who_is_back_gets_the_next_request(scene):
    async with passing_on(scene.router.table.ports[0].fallback) as slot:
        await scene.router.join("ada", "header:x-tow=ada", slots=[slot])
        async with scene.connected() as client:
            assert (await client.ask("GET /", *ADA)).json()["who"] == "original"
    async with http1.Server("ada").listening(slot), scene.connected() as client:
        assert (await client.ask("GET /", *ADA)).json()["who"] == "ada"


async def test_when_the_agent_does_not_listen_the_pods_answer_with_a_header(scene):
    await scene.router.join("ada", "header:x-tow=ada", slots=[envoys.free_port()])
    answered = await scene.ask("POST /", "Content-Length: 4", *ADA, body=b"body")
    assert answered.json()["who"] == "original"
    assert answered.json()["bytes"] == 4
    assert answered.values("x-towline") == [SAID]


async def test_call_of_grpc_is_answered_by_the_pods_with_a_header(tmp_path):
    async with AsyncExitStack() as stack:
        original = await stack.enter_async_context(http2.Server("original").listening())
        port = envoys.routed(original.port)
        router = await stack.enter_async_context(envoys.running(tmp_path / "router", port))
        slot = await stack.enter_async_context(passing_on(port.fallback))
        await router.join("ada", "header:x-tow=ada", slots=[slot])
        client = await stack.enter_async_context(http2.connected(port.port))
        for _ in range(3):
            stream = await client.call(("x-tow", "ada"))
            assert stream.headers["who"] == "original"
            assert stream.headers["x-towline"] == SAID
            assert stream.trailers["grpc-status"] == "0"


async def test_participants_own_header_of_that_name_is_not_ours_to_take(scene):
    async def answer(exchange: http1.Exchange) -> None:
        exchange.send("200 OK", "X-Towline: mine", "Content-Length: 0")

    scene.original.handler = answer
    assert (await scene.ask()).values("x-towline") == ["mine"]
