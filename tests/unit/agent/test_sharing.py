"""An agent that several sessions share: none of them hears, or depends on, another."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.unit.agent.running import LONG_GRACE_SECONDS, SECONDS, Conversation, Running, agent
from tests.unit.agent.test_process import echo
from towline.agent.telling import users
from towline.link import certificate, direct
from towline.relay.peer import Peer
from towline.relay.request import request
from towline.relay.stream import Stream
from towline.wire import frames
from towline.wire.frames import Buffer, FrameType, Kind, Reason
from towline.wire.mux import INITIAL_WINDOW
from towline.wire.target import Target

SHORT_GRACE_SECONDS = 0.7
STALLED = 50
# An agent that lets half of so many streams wait, each with its first window; of one session, or
# of all together.
_LITTLE = f"from towline.agent import users; users.MOST_BYTES = {STALLED // 2 * INITIAL_WINDOW}"
_SMALL = f"from towline.agent import pod; pod.memory_limit = lambda: {STALLED * INITIAL_WINDOW}"


@asynccontextmanager
async def shared(
    grace_seconds: float = LONG_GRACE_SECONDS, before: str = ""
) -> AsyncIterator[Running]:
    async with agent(grace_seconds, before, options=["--shared"]) as running:
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


async def test_streams_of_one_session_are_nothing_to_another() -> None:
    async with shared() as running, echo() as port:
        alice = await join(running, "alice")
        conversation = Conversation(alice, port)
        assert await conversation.news() == "accepted"
        with socket.create_connection(("127.0.0.1", running.port)) as mallory:
            await say(mallory, hello_of("mallory") + data(conversation.stream.id, b"evil"))
            await until_closed(mallory)
        with socket.create_connection(("127.0.0.1", running.port)) as mallory:
            reset = frames.encode(FrameType.RESET, conversation.stream.id, bytes(1))
            await say(mallory, hello_of("mallory") + reset)
            await until_closed(mallory)
        conversation.stream.send(b"mine")
        assert await conversation.news() == b"mine"


async def test_one_that_takes_nothing_of_a_flood_does_not_hold_up_others() -> None:
    async with shared() as running, flood() as flooding, echo() as port:
        bob = await join(running, "bob")
        with socket.create_connection(("127.0.0.1", running.port)) as greedy:
            opened = b"".join(
                frames.encode(FrameType.OPEN, stream, bytes((Kind.TCP,)) + flooding)
                for stream in range(1, 2 * STALLED, 2)
            )
            await say(greedy, hello_of("greedy") + opened)
            async with asyncio.timeout(SECONDS):
                await asyncio.gather(*(one_word(bob, port) for _ in range(STALLED)))


async def test_one_that_floods_programs_which_do_not_read_is_stopped_and_not_the_others() -> None:
    async with shared(before=_LITTLE) as running, deaf() as target, echo() as port:
        bob, greedy = await join(running, "bob"), await join(running, "greedy")
        told: asyncio.Queue[Reason] = asyncio.Queue()
        for _ in range(STALLED):
            stream = greedy.open(Kind.TCP, target)
            stream.handler = Uploading(stream, told)
        async with asyncio.timeout(SECONDS):
            assert await told.get() is Reason.EXHAUSTED
        await one_word(bob, port)


async def test_several_that_flood_together_are_stopped_before_the_memory_is_used_up() -> None:
    async with shared(before=_SMALL) as running, deaf() as target, echo() as port:
        bob, *greedy = [
            await join(running, name) for name in ("bob", "one", "two", "three", "four")
        ]
        told: asyncio.Queue[Reason] = asyncio.Queue()
        for each in greedy:
            for _ in range(STALLED // 4):
                stream = each.open(Kind.TCP, target)
                stream.handler = Uploading(stream, told)
        async with asyncio.timeout(SECONDS):
            assert await told.get() is Reason.EXHAUSTED
        await one_word(bob, port)


@asynccontextmanager
async def deaf() -> AsyncIterator[bytes]:
    """A server that reads nothing of what it is told, as the target of a stream."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield Target("127.0.0.1", listener.getsockname()[1]).encode()


class Uploading:
    """A stream that says all that it may."""

    def __init__(self, stream: Stream, told: asyncio.Queue[Reason]) -> None:
        self._stream = stream
        self._told = told

    def accepted(self) -> None:
        self.credit()

    def credit(self) -> None:
        while (size := min(self._stream.credit, 1 << 16)) and self._stream.may_send():
            self._stream.send(bytes(size))

    def data(self, data: Buffer) -> None:
        raise AssertionError(data)

    def eof(self) -> None:
        raise AssertionError

    def reset(self, reason: Reason) -> None:
        self._told.put_nowait(reason)


async def one_word(peer: Peer, port: int) -> None:
    conversation = Conversation(peer, port)
    conversation.stream.send(b"word")
    assert await conversation.news() == "accepted"
    assert await conversation.news() == b"word"
    conversation.stream.reset(Reason.CANCELLED)


@asynccontextmanager
async def flood() -> AsyncIterator[bytes]:
    """A server that says as much as anybody takes, as the target of a stream."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=100)
    yield Target("127.0.0.1", server.sockets[0].getsockname()[1]).encode()
    server.close()


def hello_of(name: str) -> bytes:
    return frames.encode_hello({"session": f"secret of {name}", "who": name})


def data(stream: int, text: bytes) -> bytes:
    return frames.encode(FrameType.DATA, stream, text)


async def say(connection: socket.socket, text: bytes) -> None:
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_sendall(connection, text)


async def until_closed(connection: socket.socket) -> None:
    async with asyncio.timeout(SECONDS):
        with suppress(ConnectionResetError):
            while await asyncio.get_running_loop().sock_recv(connection, 1 << 16):
                pass


async def test_direct_way_of_each_session_is_its_own() -> None:
    async with shared() as running:
        alice, bob = await join(running, "alice"), await join(running, "bob")
        keys = {who: direct.identity_of(certificate.new()) for who in (alice, bob)}
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
