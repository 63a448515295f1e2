"""How an agent ends that has taken connections from an original: none of them is lost."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.unit.agent.inside import SELECTOR, Inside
from tests.unit.agent.running import LONG_GRACE_SECONDS, SECONDS, Running, agent
from towline.agent.telling import AWAY, BACK, GONE
from towline.agent.undo import AGENT_LABEL
from towline.relay.peer import Peer
from towline.wire.frames import Buffer, Kind, Reason
from towline.wire.target import Claim, Port

QUIET_SECONDS = 0.5
SHORT_GRACE_SECONDS = 0.5
GRACE_SECONDS = 2.0  # enough for a session to come
SOON = "from towline.agent import server; server.TERMINATION_SECONDS = 1.0\n"


@dataclass
class Place:
    """A running agent with one port and its original, which says its name and gives back."""

    running: Running
    port: int

    async def passes(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that comes to the original."""
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    break
                except ConnectionRefusedError:  # it does not listen yet
                    assert self.running.process.returncode is None
                    await asyncio.sleep(0.01)
            assert await reader.readexactly(8) == b"original"
            return reader, writer

    async def asks(self) -> None:
        """A connection that comes to the original and is over at once."""
        reader, writer = await self.passes()
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()

    async def claims(self) -> tuple[Peer, _Session]:
        """A transport of a session that claims the port, and has it."""
        peer = await self.running.connect()
        session = _Session()
        peer.open(Kind.CLAIM, Claim(Port(self.port)).encode(), session)
        assert await session.news() == "accepted"
        return peer, session

    async def stays(self, seconds: float) -> None:
        """It does not end within the time."""
        await asyncio.sleep(seconds)
        assert self.running.process.returncode is None


class _Session:
    """The handler of a claim."""

    def __init__(self) -> None:
        self._news: asyncio.Queue[str | Reason] = asyncio.Queue()

    async def news(self) -> str | Reason:
        async with asyncio.timeout(SECONDS):
            return await self._news.get()

    def accepted(self) -> None:
        self._news.put_nowait("accepted")

    def data(self, data: Buffer) -> None:
        """There is none."""

    def eof(self) -> None:
        """The agent resets a claim."""

    def credit(self) -> None:
        """Nothing is to be sent."""

    def reset(self, reason: Reason) -> None:
        self._news.put_nowait(reason)


async def _original(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"original")
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


@asynccontextmanager
async def place(
    grace_seconds: float,
    *,
    before: str = "",
    options: Sequence[str] = (),
    drain_seconds: float = 60,
) -> AsyncIterator[Place]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with await asyncio.start_server(_original, "127.0.0.1", 0) as original:
        target = original.sockets[0].getsockname()[1]
        arguments = [
            f"--intercept={port}=127.0.0.1:{target}",
            f"--quiet-seconds={QUIET_SECONDS}",
            f"--drain-seconds={drain_seconds}",
            *options,
        ]
        async with agent(grace_seconds, before, arguments) as running:
            yield Place(running, port)


# -- the session's goodbye


async def test_after_the_goodbye_what_comes_is_passed_by_until_it_is_quiet() -> None:
    loop = asyncio.get_running_loop()
    async with place(LONG_GRACE_SECONDS) as here:
        peer, session = await here.claims()
        said = loop.time()
        peer.go_away("the session ends")
        assert await session.news() == Reason.GOING_AWAY
        await here.asks()
        assert await here.running.ended() == 0
        assert loop.time() - said >= QUIET_SECONDS * 0.9


async def test_after_the_goodbye_passed_connections_may_finish() -> None:
    async with place(LONG_GRACE_SECONDS) as here:
        reader, writer = await here.passes()
        peer, _ = await here.claims()
        peer.go_away("the session ends")
        peer.close()
        await here.stays(QUIET_SECONDS * 4)
        writer.write(b"still")
        assert await reader.readexactly(5) == b"still"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        assert await here.running.ended() == 0


async def test_connection_without_end_holds_up_the_end_for_a_time_only() -> None:
    async with place(LONG_GRACE_SECONDS, drain_seconds=1) as here:
        _, writer = await here.passes()
        (await here.running.connect()).go_away("the session ends")
        assert await here.running.ended() == 0
        writer.close()


async def test_nobody_joins_an_agent_that_drains() -> None:
    async with place(LONG_GRACE_SECONDS) as here:
        _, writer = await here.passes()
        peer, session = await here.claims()
        peer.go_away("the session ends")
        assert await session.news() == Reason.GOING_AWAY
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", here.running.port)
        writer.close()


async def test_without_an_original_the_goodbye_ends_it_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [f"--intercept={port}", "--quiet-seconds=600", "--drain-seconds=600"]
    async with agent(LONG_GRACE_SECONDS, options=options) as running:
        (await running.connect()).go_away("the session ends")
        assert await running.ended() == 0


# -- the pod's end


async def test_sigterm_lets_passed_connections_finish() -> None:
    async with place(LONG_GRACE_SECONDS) as here:
        reader, writer = await here.passes()
        here.running.process.send_signal(signal.SIGTERM)
        await here.asks()
        writer.write(b"still")
        assert await reader.readexactly(5) == b"still"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        assert await here.running.ended() == 128 + signal.SIGTERM


async def test_sigterm_ends_it_before_it_is_killed() -> None:
    async with place(LONG_GRACE_SECONDS, before=SOON) as here:
        _, writer = await here.passes()
        here.running.process.send_signal(signal.SIGTERM)
        assert await here.running.ended() == 128 + signal.SIGTERM
        writer.close()


async def test_sigterm_cuts_the_draining_after_a_goodbye_short() -> None:
    async with place(LONG_GRACE_SECONDS, before=SOON) as here:
        _, writer = await here.passes()
        peer, session = await here.claims()
        peer.go_away("the session ends")
        assert await session.news() == Reason.GOING_AWAY
        here.running.process.send_signal(signal.SIGTERM)
        assert await here.running.ended() == 0
        writer.close()


# -- the session is gone


@asynccontextmanager
async def undoing(inside: Inside, grace_seconds: float) -> AsyncIterator[Place]:
    """An agent that is to undo what is there once its session is gone."""
    before = (
        "from functools import partial\nfrom towline.agent import server\n"
        f"server.ApiServer = partial(server.ApiServer, {str(inside.folder)!r})\n"
    )
    options = [f"--undo={inside.changed.to_json()}"]
    async with place(grace_seconds, before=before, options=options) as here:
        yield here


async def asked(inside: Inside, times: int = 1) -> None:
    async with asyncio.timeout(SECONDS):
        while len(inside.server.requests) < times:
            await asyncio.sleep(0.01)


async def test_session_that_is_gone_for_good_is_undone(inside: Inside) -> None:
    await inside.intercept()
    async with undoing(inside, GRACE_SECONDS) as here:
        peer, _ = await here.claims()
        assert inside.selector == {AGENT_LABEL: "job-1"}
        peer.abort()
        await here.asks()
        assert await here.running.ended() == 0
        assert inside.selector == SELECTOR


async def test_session_that_never_comes_is_undone(inside: Inside) -> None:
    await inside.intercept()
    async with undoing(inside, SHORT_GRACE_SECONDS) as here:
        assert await here.running.ended() == 0
        assert inside.selector == SELECTOR


async def test_until_it_is_undone_connections_are_passed_by(inside: Inside) -> None:
    await inside.intercept()
    inside.server.allows = lambda _: False
    async with undoing(inside, SHORT_GRACE_SECONDS) as here:
        await asked(inside, times=2)
        await here.asks()
        inside.server.allows = lambda _: True
        assert await here.running.ended(complaint="403") == 0
        assert inside.selector == SELECTOR


async def test_session_that_comes_back_keeps_its_interception(inside: Inside) -> None:
    await inside.intercept()
    inside.server.allows = lambda _: False
    async with undoing(inside, SHORT_GRACE_SECONDS) as here:
        await asked(inside, times=2)  # so that it has told of the first refusal
        peer, _ = await here.claims()
        inside.server.allows = lambda _: True
        await here.stays(2.5)  # it would have tried again
        assert inside.selector == {AGENT_LABEL: "job-1"}
        peer.abort()
        # It has been refused, unless the session came back before the answer.
        assert await here.running.ended(complaint=None) == 0
        assert inside.selector == SELECTOR
        told = [line for line in here.running.log.splitlines() if line in (AWAY, GONE, BACK)]
        assert told == [GONE, BACK, AWAY, GONE]


async def test_session_that_says_goodbye_has_undone_it_itself(inside: Inside) -> None:
    await inside.intercept()
    async with undoing(inside, LONG_GRACE_SECONDS) as here:
        (await here.running.connect()).go_away("the session ends")
        assert await here.running.ended() == 0
        assert inside.server.requests == []
