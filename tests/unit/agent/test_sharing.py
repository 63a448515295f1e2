"""An agent that several sessions share: none of them hears, or depends on, another."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.unit.agent.running import LONG_GRACE_SECONDS, SECONDS, Conversation, Running, agent
from tests.unit.agent.test_process import echo
from towline.agent.telling import users
from towline.link import direct
from towline.relay.peer import Peer
from towline.relay.request import request
from towline.wire.frames import Kind

SHORT_GRACE_SECONDS = 0.7


@asynccontextmanager
async def shared(grace_seconds: float = LONG_GRACE_SECONDS) -> AsyncIterator[Running]:
    async with agent(grace_seconds, options=["--shared"]) as running:
        yield running


async def join(running: Running, name: str, grace_seconds: float = LONG_GRACE_SECONDS) -> Peer:
    """A transport of the session that somebody has."""
    hello = {"session": f"secret of {name}", "who": name, "command": "connect"}
    return await running.connect({**hello, "grace": grace_seconds})


async def assert_serves(peer: Peer) -> None:
    async with echo() as port:
        conversation = Conversation(peer, port)
        conversation.stream.send(b"hello")
        assert await conversation.news() == "accepted"
        assert await conversation.news() == b"hello"


async def test_goodbye_of_one_session_leaves_the_others_alone() -> None:
    async with shared() as running, echo() as port:
        alice, bob = await join(running, "alice"), await join(running, "bob")
        conversation = Conversation(bob, port)
        assert await conversation.news() == "accepted"
        alice.go_away("the session ends")
        alice.close()
        conversation.stream.send(b"on and on")
        assert await conversation.news() == b"on and on"
        await assert_serves(bob)


async def test_goodbye_of_the_last_one_ends_it_at_once() -> None:
    async with shared() as running:
        peers = [await join(running, name) for name in ("alice", "alice", "bob")]
        for peer in peers:
            peer.go_away("the session ends")
            peer.close()
        assert await running.ended() == 0


async def test_agent_outlives_whoever_was_first_and_is_killed() -> None:
    async with shared() as running:
        alice = await join(running, "alice", SHORT_GRACE_SECONDS)
        bob = await join(running, "bob")
        alice.abort()
        await asyncio.sleep(2 * SHORT_GRACE_SECONDS)
        await assert_serves(bob)


async def test_one_that_is_killed_is_waited_for_when_all_others_have_left() -> None:
    async with shared() as running:
        alice, bob = await join(running, "alice", 600), await join(running, "bob", 1)
        alice.abort()
        bob.go_away("the session ends")
        bob.close()
        await assert_serves(await join(running, "alice"))


async def test_agent_ends_when_all_are_gone_for_the_time_that_they_asked_for() -> None:
    async with shared() as running:
        for name in ("alice", "bob"):
            (await join(running, name, SHORT_GRACE_SECONDS)).abort()
        assert await running.ended() == 0


async def test_agent_that_nobody_comes_to_ends_by_itself() -> None:
    async with shared(SHORT_GRACE_SECONDS) as running:
        assert await running.ended() == 0


async def test_who_only_connects_and_never_says_hello_keeps_nothing_alive() -> None:
    async with shared(SHORT_GRACE_SECONDS) as running:
        alice = await join(running, "alice")
        with socket.create_connection(("127.0.0.1", running.port)):
            alice.go_away("the session ends")
            alice.close()
            assert await running.ended() == 0


async def test_agent_tells_who_is_there_but_nothing_by_which_to_be_them() -> None:
    async with shared() as running:
        alice, bob = await join(running, "alice"), await join(running, "bob\n\x1b[31m")
        bob.abort()
        await assert_serves(alice)
        alice.go_away("the session ends")
        alice.close()
        (await join(running, "bob\n\x1b[31m")).go_away("the session ends")
        assert await running.ended() == 0
    lines = running.log.splitlines()
    told = [[each["who"] for each in users(line) or []] for line in lines]
    assert ["alice", "bob[31m"] in told
    assert told[-1] == []
    assert "secret" not in running.log


async def test_direct_way_of_each_session_is_its_own() -> None:
    async with shared() as running:
        alice, bob = await join(running, "alice"), await join(running, "bob")
        keys = {who: direct.new_identity() for who in (alice, bob)}
        ports = {
            who: int.from_bytes(await request(who, Kind.DIRECT, key.pem, SECONDS), "big")
            for who, key in keys.items()
        }
        await dial(ports[alice], keys[alice])
        await dial(ports[bob], keys[bob])
        with pytest.raises(ssl.SSLError):
            await dial(ports[bob], keys[alice])
        bob.go_away("the session ends")
        bob.close()
        async with asyncio.timeout(SECONDS):
            while await is_let_in(ports[bob], keys[bob]):
                await asyncio.sleep(0.01)
        await dial(ports[alice], keys[alice])


async def is_let_in(port: int, key: direct._Identity) -> bool:
    try:
        await dial(port, key)
    except OSError:
        return False
    return True


async def dial(port: int, key: direct._Identity) -> None:
    """Be let in by this key, as far as the agent's hello."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=key.context, server_hostname=""
    )
    try:
        assert b"TOWL" in await reader.read(100)
    finally:
        writer.close()
