"""How a session leaves an agent: with a goodbye only if nobody relies on it any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from towline.errors import SessionError, TowlineError
from towline.features.downlink.standin import withdraw
from towline.features.local.delivery import Delivery
from towline.link.link import Link
from towline.relay.peer import Peer
from towline.wire.mux import Mux

SECONDS = 20.0


class Quiet:
    """An observer of the link to whom nothing matters."""

    def link_up(self) -> None: ...

    def link_down(self, reason: str) -> None: ...

    def link_failing(self, reason: str) -> None: ...


class Switch:
    """What leads traffic to the agent, until `back` is set or fails."""

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self.back: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def begin(self, pod: str) -> None: ...

    async def follow(self, pod: str) -> None: ...

    async def end(self) -> None:
        self.ending.set()
        await self.back

    async def disturbed(self) -> SessionError:
        raise NotImplementedError


@asynccontextmanager
async def agent() -> AsyncIterator[tuple[int, list[str], asyncio.Event]]:
    """Its port, the goodbyes that it hears, and whether its transport is lost."""
    goodbyes: list[str] = []
    lost = asyncio.Event()

    def accept() -> Peer:
        return Peer(Mux(client=False), on_goaway=goodbyes.append, on_lost=lambda _: lost.set())

    server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], goodbyes, lost
    finally:
        server.close()


async def session(port: int, switch: Switch) -> None:
    """One that is up, and ends at once."""

    async def connect(factory: object) -> tuple[asyncio.Transport, Peer]:
        loop = asyncio.get_running_loop()
        return await loop.create_connection(factory, "127.0.0.1", port)  # type: ignore[arg-type]

    async with asyncio.TaskGroup() as group:
        delivery = Delivery({}, group)
        async with Link(connect, Quiet(), transports=1) as link:
            await link.first(SECONDS)
            await withdraw(switch, link, delivery)


async def test_agent_that_nobody_relies_on_is_told_goodbye() -> None:
    async with asyncio.timeout(SECONDS), agent() as (port, goodbyes, lost):
        switch = Switch()
        switch.back.set_result(None)
        await session(port, switch)
        await lost.wait()
        assert goodbyes == ["the session ends"]


async def test_agent_to_which_all_is_still_led_hears_no_goodbye() -> None:
    async with asyncio.timeout(SECONDS), agent() as (port, goodbyes, lost):
        switch = Switch()
        switch.back.set_exception(TowlineError("no"))
        with pytest.raises(ExceptionGroup):
            await session(port, switch)
        await lost.wait()
        assert goodbyes == []


async def test_withdrawal_that_is_cancelled_says_no_goodbye() -> None:
    async with asyncio.timeout(SECONDS), agent() as (port, goodbyes, lost):
        switch = Switch()
        ending = asyncio.create_task(session(port, switch))
        await switch.ending.wait()
        ending.cancel()
        with suppress(asyncio.CancelledError):
            await ending
        await lost.wait()
        assert goodbyes == []
