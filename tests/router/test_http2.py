"""HTTP/2 without TLS, and gRPC: each stream is routed by itself, with its trailers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.router import envoys, http2

ADA, EVE = ("x-tow", "ada"), ("x-tow", "eve")


@pytest.fixture
async def router(tmp_path):
    async with AsyncExitStack() as stack:
        servers = {name: http2.Server(name) for name in ("original", "ada", "eve")}
        for server in servers.values():
            await stack.enter_async_context(server.listening())
        port = envoys.routed(servers["original"].port)
        router = await stack.enter_async_context(envoys.running(tmp_path / "router", port))
        for name in ("ada", "eve"):
            await router.join(name, f"header:x-tow={name}", slots=[servers[name].port])
        yield router


async def test_calls_on_one_connection_are_routed_each_by_itself(router):
    async with http2.connected(router.port) as client:
        for header, who in (((), "original"), ((ADA,), "ada"), ((EVE,), "eve"), ((), "original")):
            stream = await client.call(*header)
            assert stream.headers["who"] == who
            assert stream.headers["asked"] == "POST web/call"
            assert stream.headers["saw-te"] == "trailers"
            assert stream.trailers == {"grpc-status": "0", "grpc-message": who}
            assert stream.data.get_nowait() == b"ping"


async def test_streams_go_on_side_by_side_in_both_directions(router):
    async with http2.connected(router.port) as client:
        streams = [client.open(*header) for header in ((), (ADA,), (EVE,)) * 10]
        for text in (b"one", b"two"):
            for stream in streams:
                client.send(stream.id, text)
            for stream in streams:
                assert await stream.data.get() == text
        for stream in streams:
            client.send(stream.id, b"", end=True)
            await stream.ended.wait()
            assert not stream.reset
            assert stream.trailers["grpc-status"] == "0"


async def test_stream_that_a_client_resets_leaves_the_others(router):
    async with http2.connected(router.port) as client:
        gone, stays = client.open(ADA), client.open(ADA)
        await gone.answered.wait()
        client.h2.reset_stream(gone.id)
        client.flush()
        client.send(stays.id, b"still")
        assert await stays.data.get() == b"still"


async def test_websocket_over_http_2_is_passed_on(router):
    """RFC 8441."""
    async with http2.connected(router.port) as client:
        while not client.h2.remote_settings.enable_connect_protocol:
            await asyncio.sleep(0.01)
        stream = client.open(ADA, method="CONNECT", protocol="websocket", path="/chat")
        await stream.answered.wait()
        assert stream.headers["who"] == "ada"
        assert stream.headers["protocol"] == "websocket"
        client.send(stream.id, b"ping")
        assert await stream.data.get() == b"ping"
