"""What goes on for long: streams, large bodies, upgraded connections; nothing is held back."""

from __future__ import annotations

import asyncio

import pytest

from tests.router import http1

ADA = ("X-Tow: ada",)
WAYS = pytest.mark.parametrize("headers", [(), ADA], ids=["original", "participant"])
GIGABYTE = 1 << 30
PIECE = bytes(range(256)) * 4096


async def in_turns(exchange: http1.Exchange) -> None:
    """Answer at once, then each chunk of the request by one of its own."""
    exchange.send("200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked")
    while size := int(await exchange.reader.readline(), 16):
        data = (await exchange.reader.readexactly(size + 2))[:-2]
        exchange.writer.write(b"%x\r\n%s\r\n" % (size, data.upper()))
    await exchange.reader.readline()
    exchange.writer.write(b"0\r\n\r\n")


@WAYS
async def test_both_directions_flow_at_the_same_time(scene, headers):
    """As with server-sent events: what is held back would never come here."""
    scene.original.handler = in_turns
    await scene.join("ada", "header:x-tow=ada", handler=in_turns)
    async with scene.connected() as client:
        client.send("POST /", "Transfer-Encoding: chunked", *headers)
        assert (await http1.read_head(client.reader)).status == 200
        for text in (b"one", b"another"):
            client.writer.write(b"%x\r\n%s\r\n" % (len(text), text))
            assert int(await client.reader.readline(), 16) == len(text)
            assert await client.reader.readline() == text.upper() + b"\r\n"


async def test_a_gigabyte_up(scene):
    async def take(exchange: http1.Exchange) -> None:
        for _ in range(GIGABYTE // len(PIECE)):
            assert await exchange.reader.readexactly(len(PIECE)) == PIECE
        exchange.send("200 OK", "Content-Length: 2", body=b"ok")

    await scene.join("ada", "header:x-tow=ada", handler=take)
    async with scene.connected() as client:
        client.send("PUT /", f"Content-Length: {GIGABYTE}", *ADA)
        for _ in range(GIGABYTE // len(PIECE)):
            client.writer.write(PIECE)
            await client.writer.drain()
        assert (await client.receive()).body == b"ok"


async def test_a_gigabyte_down(scene):
    async def give(exchange: http1.Exchange) -> None:
        exchange.send("200 OK", f"Content-Length: {GIGABYTE}")
        for _ in range(GIGABYTE // len(PIECE)):
            exchange.writer.write(PIECE)
            await exchange.writer.drain()

    scene.original.handler = give
    async with scene.connected() as client:
        client.send("GET /")
        await http1.read_head(client.reader)
        for _ in range(GIGABYTE // len(PIECE)):
            assert await client.reader.readexactly(len(PIECE)) == PIECE


async def upgrade(exchange: http1.Exchange) -> None:
    """Agree to whatever is asked for, then say everything twice."""
    asked = exchange.request.values("upgrade")[0]
    exchange.send("101 Switching Protocols", "Connection: Upgrade", f"Upgrade: {asked}")
    while data := await exchange.reader.read(1000):
        exchange.writer.write(data * 2)
    raise asyncio.CancelledError


@WAYS
@pytest.mark.parametrize("protocol", ["websocket", "SPDY/3.1"])
async def test_upgraded_connection_is_passed_on_both_ways(scene, headers, protocol):
    scene.original.handler = upgrade
    await scene.join("ada", "header:x-tow=ada", handler=upgrade)
    async with scene.connected() as client:
        client.send("GET /", "Connection: Upgrade", f"Upgrade: {protocol}", *headers)
        head = await http1.read_head(client.reader)
        assert (head.status, head.values("upgrade")) == (101, [protocol])
        client.writer.write(b"ping")
        assert await client.reader.readexactly(8) == b"pingping"
