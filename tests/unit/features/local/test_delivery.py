"""Connections to an agent's port, delivered here by a session, or passed by to the original."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest

from tests.unit.features.local.interceptions import SECONDS, ground
from towline.agent import tcp
from towline.agent.intercept import Intercepted
from towline.agent.tcp import KEPT_BYTES
from towline.errors import AgentError
from towline.features.local import expose
from towline.relay.peer import Peer
from towline.wire.mux import INITIAL_WINDOW
from towline.wire.target import Incoming, Port, Protocol, Target


async def test_unclaimed_connections_pass_by_to_the_original() -> None:
    async with ground() as here:
        assert await here.ask() == b"original:HELLO"


async def test_claimed_connections_come_to_the_program() -> None:
    async with ground() as here:
        _, delivery = await here.session()
        await delivery.claimed()
        assert await here.ask() == b"program:HELLO"
        assert here.original.clients == 0


@pytest.mark.parametrize("size", [1, INITIAL_WINDOW, INITIAL_WINDOW + 1, 5 * INITIAL_WINDOW])
async def test_connection_goes_on_after_what_its_client_said_at_once(size: int) -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        _, delivery = await here.session()
        await delivery.claimed()
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"a" * size)
        assert await reader.readexactly(8 + size) == b"program:" + b"A" * size
        writer.write(b"more")
        assert await reader.readexactly(4) == b"MORE"
        writer.close()


@pytest.mark.parametrize("size", [0, 5, KEPT_BYTES * 8])
async def test_program_is_told_something_before_what_the_client_says(size: int) -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        clients = []

        def preface(incoming: Incoming) -> bytes:
            clients.append(incoming)
            return b"from afar:"

        _, delivery = await here.session(preface=preface)
        await delivery.claimed()
        assert await here.ask(b"x" * size) == b"program:FROM AFAR:" + b"X" * size
        assert await here.program.ended.get() == b"from afar:" + b"x" * size
        assert [each.port.number for each in clients] == [here.port]
        assert clients[0].client.host == "127.0.0.1"


@pytest.mark.parametrize("end", [Peer.close, Peer.abort])
async def test_connections_pass_by_again_when_the_session_is_gone(
    end: Callable[[Peer], None],
) -> None:
    async with ground() as here:
        peer, delivery = await here.session()
        await delivery.claimed()
        end(peer)
        assert await here.ask() == b"original:HELLO"


@pytest.mark.parametrize("size", [5, KEPT_BYTES * 8])
async def test_original_gets_all_that_a_program_which_does_not_listen_did_not_take(
    size: int,
) -> None:
    async with ground() as here:
        assert here.program.server
        here.program.server.close()
        _, delivery = await here.session()
        await delivery.claimed()
        assert await here.ask(b"x" * size) == b"original:" + b"X" * size
        await here.program.start()
        assert await here.ask() == b"program:HELLO"


async def test_connection_without_claim_and_original_is_reset() -> None:
    async with ground(has_original=False) as here:
        with pytest.raises(ConnectionResetError):
            await here.ask()


async def test_original_that_does_not_listen_resets() -> None:
    async with ground() as here:
        assert here.original.server
        here.original.server.close()
        with pytest.raises(ConnectionResetError):
            await here.ask()


async def test_open_connections_are_reset_when_the_session_is_gone() -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        peer, delivery = await here.session()
        await delivery.claimed()
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        assert await reader.readexactly(8) == b"program:"
        peer.abort()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


@pytest.mark.parametrize("claimed", [False, True])
async def test_reset_of_a_client_is_a_reset(claimed: bool) -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        if claimed:
            _, delivery = await here.session()
            await delivery.claimed()
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        await reader.readuntil(b":")
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        origin = here.program if claimed else here.original
        assert origin.clients == 1
        assert origin.server
        origin.server.close()
        await origin.server.wait_closed()


async def test_bulk_passes_both_ways_with_half_closes() -> None:
    async with ground() as here:
        words = b"abc" * (1 << 20)
        assert await here.ask(words) == b"original:" + words.upper()
        _, delivery = await here.session()
        await delivery.claimed()
        assert await here.ask(words) == b"program:" + words.upper()


async def test_claim_of_a_port_that_is_not_intercepted_is_refused() -> None:
    async with ground() as here:
        _, delivery = await here.session(port=1)
        with pytest.raises(AgentError, match="does not listen on port 1"):
            await delivery.claimed()


async def test_session_with_several_transports_gets_each_connection_once() -> None:
    async with ground() as here:
        first, delivery = await here.session()
        await delivery.claimed()
        second, again = await here.session()
        await again.claimed()
        answers = await asyncio.gather(*(here.ask(b"%d" % n) for n in range(20)))
        assert sorted(answers) == sorted(b"program:%d" % n for n in range(20))
        assert here.program.clients == 20
        first.abort()
        assert await here.ask() == b"program:HELLO"
        second.abort()
        assert await here.ask() == b"original:HELLO"


async def test_session_that_ends_claims_nothing_more() -> None:
    async with asyncio.timeout(SECONDS), ground() as here:
        peer, delivery = await here.session()
        await delivery.claimed()
        await delivery.finish()
        delivery.claim(peer)
        assert await here.ask() == b"original:HELLO"


def say_goodbye(peer: Peer) -> None:
    """That its transport is closed, too, may be heard later."""
    peer.go_away("the session ends")


@pytest.mark.parametrize("end", [Peer.abort, say_goodbye])
async def test_program_that_cannot_be_reached_holds_up_no_end(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[Peer], None]
) -> None:
    monkeypatch.setattr(tcp, "ACCEPT_SECONDS", 2 * SECONDS)
    begun = asyncio.Event()

    async def hang(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(expose, "connect", hang)
    async with asyncio.timeout(SECONDS), ground() as here:
        peer, delivery = await here.session()
        await delivery.claimed()
        asking = asyncio.ensure_future(here.ask())
        await begun.wait()
        end(peer)
        assert await asking == b"original:HELLO"


def test_intercepted_is_read_as_it_is_written() -> None:
    for intercepted in (
        Intercepted(Port(80)),
        Intercepted(Port(80, Protocol.UDP), Target("web", 8080)),
        Intercepted(Port(80), Target("fd00::1", 81)),
    ):
        assert Intercepted.parse(str(intercepted)) == intercepted
    assert Intercepted.parse("80") == Intercepted(Port(80))
