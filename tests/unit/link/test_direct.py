"""Transports past the API: a real agent in this process, by loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.unit.link.agents import Cluster
from towline.agent.server import Agent
from towline.link import certificate
from towline.link import direct as module
from towline.link.direct import Direct, NotReachable
from towline.relay import identity
from towline.relay.peer import Peer
from towline.relay.request import StreamReset, request
from towline.wire.frames import Kind, Reason
from towline.wire.mux import Mux

HERE = ["127.0.0.1"]
SECONDS = 20.0


def make_peer() -> Peer:
    return Peer(Mux(client=True))


@asynccontextmanager
async def beginning() -> AsyncIterator[tuple[Cluster, Direct, Peer]]:
    """A first transport, by what stands for the API."""
    cluster = Cluster()
    await cluster.start()
    try:
        direct = Direct(cluster.connect)
        _, peer = await direct.connect(make_peer)
        await peer.ready()
        assert direct.is_roundabout(peer)
        yield cluster, direct, peer
        peer.close()
    finally:
        await cluster.lose()


async def port_for(peer: Peer, pem: bytes) -> int:
    return int.from_bytes(await request(peer, Kind.DIRECT, pem, SECONDS), "big")


async def test_next_transport_takes_the_way_that_was_found() -> None:
    async with beginning() as (cluster, direct, peer):
        assert not direct.is_open
        await direct.find(peer, HERE, "lo")
        assert direct.is_open
        transport, found = await direct.connect(make_peer)
        assert (await found.ready()).properties["pod"] == socket.gethostname()
        assert transport.get_extra_info("cipher")[1] == "TLSv1.3"
        assert not direct.is_roundabout(found)
        assert cluster.attempts == 1
        found.close()


async def test_addresses_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = "203.0.113.1"
    async with beginning() as (_, direct, peer):
        with monkeypatch.context() as patch:
            patch.setattr(module, "CONNECT_SECONDS", 0.01)
            with pytest.raises(NotReachable, match=f"{silent} port .*: no answer"):
                await direct.find(peer, [silent], "lo")
        monkeypatch.setattr(module, "CONNECT_SECONDS", 0.5)
        await direct.find(peer, [silent, *HERE], "lo")
        assert direct.is_open


async def test_way_that_is_lost_leaves_the_one_by_the_api() -> None:
    async with beginning() as (cluster, direct, peer):
        await direct.find(peer, HERE, "lo")
        await cluster.lose()
        await cluster.start()
        _, found = await direct.connect(make_peer)
        await found.ready()
        assert direct.is_roundabout(found)
        assert not direct.is_open
        await direct.find(found, HERE, "lo")
        assert direct.is_open
        found.close()


async def test_key_is_the_same_for_as_long_as_the_session() -> None:
    async with beginning() as (_, direct, peer):
        await direct.find(peer, HERE, "lo")
        _, first = await direct.connect(make_peer)
        await direct.find(peer, HERE, "lo")
        _, second = await direct.connect(make_peer)
        await second.ready()
        assert not first.lost
        first.close()
        second.close()


async def test_way_without_a_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAKER", (sys.executable, "-c", "raise SystemExit(1)"))
    async with beginning() as (_, direct, peer):
        with pytest.raises(NotReachable, match="no key"):
            await direct.find(peer, HERE, "lo")
        assert not direct.is_open


async def test_who_has_no_key_gets_nothing_and_keeps_nobody_up() -> None:
    agent = Agent(grace_seconds=0.5)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(agent.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, peer = await loop.create_connection(make_peer, "127.0.0.1", port)
    await peer.ready()
    pem, other = certificate.new(), certificate.new()
    door = await port_for(peer, pem)
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    impostor = identity.context(other, server=False)
    impostor.check_hostname, impostor.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", door))
    for context in (stranger, impostor):
        found = make_peer()
        with suppress(OSError):  # TLS 1.3 tells a client of this when it reads
            await loop.create_connection(lambda it=found: it, "127.0.0.1", door, ssl=context)
        with pytest.raises(Exception, match=r".*"):
            await asyncio.wait_for(found.ready(), SECONDS)
    peer.abort()
    # Nobody is there who would be waited for.
    assert await asyncio.wait_for(agent.over(), SECONDS) == 0
    plain.close()
    server.close()
    await agent.close()


async def test_who_answers_without_the_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with beginning() as (_, direct, peer):
        context = identity.context(certificate.new(), server=True)
        context.verify_mode = ssl.CERT_NONE
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]

        async def answer(*_: object) -> bytes:
            return port.to_bytes(2, "big")

        monkeypatch.setattr(module, "request", answer)
        with pytest.raises(NotReachable, match="CERTIFICATE_VERIFY_FAILED"):
            await direct.find(peer, HERE, "lo")
        assert not direct.is_open
        server.close()


async def test_what_stands_in_the_way_is_told() -> None:
    async with beginning() as (_, direct, peer):
        with pytest.raises(NotReachable, match="no address"):
            await direct.find(peer, [], "lo")
        with pytest.raises(NotReachable, match="No such device"):
            await direct.find(peer, HERE, "nodevice")


async def test_nobody_is_listened_for_where_there_is_no_way() -> None:
    async with beginning() as (_, direct, peer):
        pem = certificate.new()
        door = await port_for(peer, pem)
        socket.create_connection(("127.0.0.1", door)).close()
        assert await port_for(peer, b"") == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", door))
        with pytest.raises(NotReachable):
            await direct.find(peer, [], "lo")
        assert await port_for(peer, b"") == 0


@pytest.mark.parametrize("pem", [b"nonsense", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----"])
async def test_agent_refuses_what_is_no_key(pem: bytes) -> None:
    async with beginning() as (_, _, peer):
        with pytest.raises(StreamReset) as caught:
            await port_for(peer, pem)
        assert caught.value.reason is Reason.UNSUPPORTED
