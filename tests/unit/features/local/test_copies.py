"""Copies of what clients say to the original, for a program of a session."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.features.local.interceptions import SECONDS, Ground, ground
from tests.unit.relay.links import reset
from towline.agent import copying, intercept
from towline.relay.peer import Peer

MIB = 1 << 20
# More than a stalled program's way takes: socket buffers, windows, and what may lag.
ENDLESS = 48 * MIB


async def copied(here: Ground) -> Peer:
    """A session that gets copies."""
    peer, delivery = await here.session(copy=True)
    await delivery.claimed()
    return peer


@pytest.mark.parametrize("words", [b"", b"hello", b"abc" * MIB], ids=["nothing", "words", "bulk"])
async def test_program_gets_what_the_original_gets_and_its_answers_are_dropped(
    words: bytes,
) -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        await copied(here)
        assert await here.ask(words) == b"original:" + words.upper()
        assert await here.original.ended.get() == words
        assert await here.program.ended.get() == words


async def test_several_transports_get_one_copy() -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        await copied(here)
        await copied(here)
        await here.ask(b"1")
        await here.ask(b"2")
        assert {await here.program.ended.get(), await here.program.ended.get()} == {b"1", b"2"}
        assert here.program.clients == 2


async def test_original_knows_nothing_of_a_program_that_does_not_listen() -> None:
    async with ground() as here:
        assert here.program.server
        here.program.server.close()
        await copied(here)
        assert await here.ask(b"x" * MIB) == b"original:" + b"X" * MIB
        assert here.original.clients == 1


async def test_original_knows_nothing_of_a_session_that_is_lost() -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        peer = await copied(here)
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"before")
        assert await reader.readexactly(15) == b"original:BEFORE"
        peer.abort()
        assert await here.program.ended.get() is None
        writer.write(b"after")
        writer.write_eof()
        assert await reader.read() == b"AFTER"
        writer.close()


async def test_copy_that_lags_is_given_up_and_the_original_never_waits() -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        await copied(here)
        here.program.reading.clear()
        assert await here.ask(b"x" * ENDLESS) == b"original:" + b"X" * ENDLESS
        here.program.reading.set()
        assert await here.program.ended.get() is None
        assert await here.ask() == b"original:HELLO"
        assert await here.program.ended.get() == b"hello"


async def test_copies_lag_by_so_much_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "LAG_BYTES", ENDLESS * 2)
    monkeypatch.setattr(intercept, "WAITING_BYTES", 16 * MIB)
    async with ground() as here, asyncio.timeout(SECONDS):
        await copied(here)
        here.program.reading.clear()
        answers = await asyncio.gather(*(here.ask(b"x" * ENDLESS) for _ in range(2)))
        assert {len(answer) for answer in answers} == {len(b"original:") + ENDLESS}
        here.program.reading.set()
        assert None in {await here.program.ended.get(), await here.program.ended.get()}


async def test_reset_of_a_client_resets_the_copy() -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        await copied(here)
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"hello")
        await reader.readexactly(14)
        reset(writer)
        assert await here.program.ended.get() is None
        assert await here.original.ended.get() is None


async def test_what_another_session_takes_is_not_copied() -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        await copied(here)
        taking, delivery = await here.session()
        await delivery.claimed()
        assert await here.ask() == b"program:HELLO"
        assert here.original.clients == 0
        taking.abort()
        assert await here.ask(b"again") == b"original:AGAIN"
        assert await here.program.ended.get() == b"hello"
        assert await here.program.ended.get() == b"again"
        assert here.program.clients == 2


async def test_connection_without_original_is_not_copied() -> None:
    async with ground(has_original=False) as here:
        await copied(here)
        with pytest.raises(ConnectionResetError):
            await here.ask()
        assert here.program.clients == 0
