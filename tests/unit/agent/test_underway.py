"""What an agent that is about to end waits for: the connections that no session has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.unit.features.local.interceptions import SECONDS, Ground, ground
from towline.agent.underway import Underway

QUIET_SECONDS = 0.3


async def never_quiet(underway: Underway, seconds: float = 1.0) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await underway.quiet(0)


async def test_quiet_takes_its_time_when_nothing_comes() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await Underway().quiet(QUIET_SECONDS)
    assert loop.time() - began >= QUIET_SECONDS * 0.9


async def test_quiet_is_put_off_by_what_comes_and_by_what_is_open() -> None:
    loop = asyncio.get_running_loop()
    underway = Underway()
    quiet = asyncio.ensure_future(underway.quiet(QUIET_SECONDS))
    await asyncio.sleep(QUIET_SECONDS / 2)
    underway.came()
    await asyncio.sleep(QUIET_SECONDS * 2)
    assert not quiet.done()
    underway.open -= 1
    await quiet
    underway.came()
    underway.open -= 1
    came = loop.time()
    await underway.quiet(QUIET_SECONDS)
    assert loop.time() - came >= QUIET_SECONDS * 0.9


async def passed(here: Ground) -> Awaitable[bytes]:
    """A connection that is passed by, and what comes of its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
    assert await reader.readexactly(9) == b"original:"

    async def end() -> bytes:
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer

    return end()


async def test_passed_connection_is_under_way_until_it_has_ended() -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        underway = here.agent.interception.underway
        end = await passed(here)
        await never_quiet(underway)
        assert await end == b""
        await underway.quiet(0)


async def refuse(here: Ground) -> None:
    assert here.original.server
    here.original.server.close()
    with pytest.raises(ConnectionResetError):
        await here.ask()


async def deliver(here: Ground) -> None:
    _, delivery = await here.session()
    await delivery.claimed()
    assert await here.ask() == b"program:HELLO"


async def fall_back(here: Ground) -> None:
    assert here.program.server
    here.program.server.close()
    _, delivery = await here.session()
    await delivery.claimed()
    assert await here.ask() == b"original:HELLO"


@pytest.mark.parametrize("happen", [refuse, deliver, fall_back])
async def test_nothing_stays_under_way(happen: Callable[[Ground], Awaitable[None]]) -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        await happen(here)
        await here.agent.interception.underway.quiet(0)


async def test_delivered_connection_is_the_sessions_and_not_under_way() -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        _, delivery = await here.session()
        await delivery.claimed()
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        assert await reader.readexactly(8) == b"program:"
        await here.agent.interception.underway.quiet(0)
        writer.close()


async def test_release_ends_the_claims_for_good_but_not_what_is_delivered() -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        _, delivery = await here.session()
        await delivery.claimed()
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        assert await reader.readexactly(8) == b"program:"
        here.agent.interception.release()
        await here.session()
        assert await here.ask() == b"original:HELLO"
        writer.write(b"still")
        assert await reader.readexactly(5) == b"STILL"
        writer.close()
