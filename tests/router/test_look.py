"""Ports of which nobody says what they speak: HTTP is routed, all else passes untouched."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack

import pytest

from tests.fakes.pki import Authority
from tests.router import envoys, http1, http2
from towline.routing.protocols import Speaks

ADA = "X-Tow: ada"


@pytest.fixture
async def look(tmp_path):
    """A function that makes a router before a port of this machine."""
    async with AsyncExitStack() as stack:

        async def begin(original: int) -> envoys.Router:
            port = envoys.routed(original, Speaks.LOOK)
            return await stack.enter_async_context(envoys.running(tmp_path / "router", port))

        yield begin


async def test_http_is_routed(look):
    async with (
        http1.Server("original").listening() as original,
        http1.Server("ada").listening() as ada,
    ):
        router = await look(original.port)
        await router.join("ada", "header:x-tow=ada", slots=[ada.port])
        assert (await http1.ask(router.port)).json()["who"] == "original"
        assert (await http1.ask(router.port, "GET /", ADA)).json()["who"] == "ada"


async def test_http_2_is_routed(look):
    async with (
        http2.Server("original").listening() as original,
        http2.Server("ada").listening() as ada,
    ):
        router = await look(original.port)
        await router.join("ada", "header:x-tow=ada", slots=[ada.port])
        async with http2.connected(router.port) as client:
            assert (await client.call()).headers["who"] == "original"
            assert (await client.call(("x-tow", "ada"))).headers["who"] == "ada"


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As servers of databases do: speak first, and end when the client does."""
    writer.write(b"hello\n")
    writer.write(await reader.read())
    writer.close()


async def test_server_may_speak_first_and_each_side_ends_by_itself(look):
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        router = await look(server.sockets[0].getsockname()[1])
        async with http1.connected(router.port) as client:
            assert await client.reader.readline() == b"hello\n"
            client.writer.write(b"\0\1bytes")
            client.writer.write_eof()
            assert await client.reader.read() == b"\0\1bytes"


async def test_client_may_speak_what_is_no_http(look):
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        router = await look(server.sockets[0].getsockname()[1])
        for said in (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"PING\r\n", b"GETX"):
            async with http1.connected(router.port) as client:
                client.writer.write(said)
                assert await client.reader.readline() == b"hello\n"
                client.writer.write_eof()
                assert await client.reader.read() == said


async def test_tls_passes_to_the_pods_untouched(look, tmp_path):
    pair = Authority(tmp_path, "ca").issue("web")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    async with http1.Server("original").listening(context=context) as original:
        router = await look(original.port)
        async with http1.connected(router.port, trusting) as client:
            assert (await client.ask("GET /", ADA)).json()["who"] == "original"
        assert await router.statistic(f"tcp.passed-{router.port}.downstream_cx_total") == "1"
