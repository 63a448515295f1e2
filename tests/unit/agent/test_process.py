"""The agent as it runs in a pod: a process of its own, with a session at the other end."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.unit.agent.running import LONG_GRACE_SECONDS, Conversation, agent
from towline import __version__
from towline.relay.request import StreamReset, request
from towline.wire.frames import Kind, Reason

GRACE_SECONDS = 2.0
SHORT_GRACE_SECONDS = 0.7
NO_NAMESERVER = "from towline.agent import resolve; resolve.resolv_conf = lambda: ''"
FEW_DESCRIPTORS = """\
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (24, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
"""


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """The port of a server that gives back what it gets, until its client has no more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=100)
    yield server.sockets[0].getsockname()[1]
    server.close()


# -- what it does


async def test_agent_says_what_it_is() -> None:
    async with agent(LONG_GRACE_SECONDS) as running:
        hello = await (await running.connect()).ready()
        assert hello.properties["version"] == __version__
        assert "resolv_conf" in hello.properties


async def test_agent_dials_and_passes_data_and_half_closes_on() -> None:
    async with agent(LONG_GRACE_SECONDS) as running, echo() as port:
        conversation = Conversation(await running.connect(), port)
        conversation.stream.send(b"hello")
        assert await conversation.news() == "accepted"
        assert await conversation.news() == b"hello"
        conversation.stream.send_eof()
        assert await conversation.news() == "eof"


async def test_agent_tells_of_a_refusal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with agent(LONG_GRACE_SECONDS) as running:
        assert await Conversation(await running.connect(), port).news() == Reason.REFUSED


async def test_agent_resolves_nothing_without_a_nameserver() -> None:
    async with agent(LONG_GRACE_SECONDS, before=NO_NAMESERVER) as running:
        peer = await running.connect()
        with pytest.raises(StreamReset, match=Reason.TIMED_OUT.name):
            await request(peer, Kind.RESOLVE, bytes(12), 10)


async def test_agent_dials_more_than_the_soft_limit_of_descriptors_allows() -> None:
    async with agent(LONG_GRACE_SECONDS, before=FEW_DESCRIPTORS) as running, echo() as port:
        peer = await running.connect()
        conversations = [Conversation(peer, port) for _ in range(40)]
        assert {await one.news() for one in conversations} == {"accepted"}


# -- how it ends


async def test_agent_that_no_client_comes_to_ends_by_itself() -> None:
    async with agent(0.1) as running:
        assert await running.ended() == 0


async def test_first_client_may_take_longer_than_one_that_is_gone() -> None:
    async with agent(0.1, first_seconds=LONG_GRACE_SECONDS) as running:
        await asyncio.sleep(1)
        await running.connect()


async def test_agent_ends_when_its_client_is_gone_for_the_grace_time() -> None:
    loop = asyncio.get_running_loop()
    async with agent(SHORT_GRACE_SECONDS) as running:
        peer = await running.connect()
        last_heard = loop.time()
        peer.abort()
        assert await running.ended() == 0
        assert loop.time() - last_heard >= SHORT_GRACE_SECONDS * 0.9


async def test_client_that_comes_back_in_time_keeps_the_agent() -> None:
    loop = asyncio.get_running_loop()
    async with agent(GRACE_SECONDS) as running, echo() as port:
        (await running.connect()).abort()
        gone = loop.time()
        peer = await running.connect()
        await asyncio.sleep(gone + GRACE_SECONDS * 1.2 - loop.time())
        assert await Conversation(peer, port).news() == "accepted"
        assert running.process.returncode is None


async def test_goodbye_ends_the_agent_at_once() -> None:
    async with agent(LONG_GRACE_SECONDS) as running:
        (await running.connect()).go_away("the session ends")
        assert await running.ended() == 0


async def test_sigterm_ends_the_agent_and_its_flows_at_once() -> None:
    async with agent(LONG_GRACE_SECONDS) as running, echo() as port:
        conversation = Conversation(await running.connect(), port)
        assert await conversation.news() == "accepted"
        running.process.send_signal(signal.SIGTERM)
        assert await running.ended() == 128 + signal.SIGTERM
        assert await conversation.news() == Reason.LINK_LOST
