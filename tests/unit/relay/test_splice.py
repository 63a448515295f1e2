from __future__ import annotations

import asyncio
import random
import socket

import pytest

from tests.unit.relay.links import (
    Tunnel,
    closed,
    reset,
    tunnel,
)
from towline.wire.frames import Reason

BULK = random.Random(1).randbytes(3_000_000)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An origin that gives back what it gets, until the end of that."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


# -- data and its end


async def test_bulk_passes_both_ways_at_once() -> None:
    async with tunnel(echo) as way:
        reader, writer = await way.connect()
        reading = asyncio.create_task(reader.read())
        writer.write(BULK)
        writer.write_eof()

        assert await reading == BULK
        await closed(writer)
        await way.finished(1)
        assert way.closed == way.far_closed == [None]
        assert way.near.streams == way.far.streams == {}


async def test_half_close_by_the_client_leaves_the_answer_its_way() -> None:
    async def answer_after_the_end(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"%d bytes" % len(await reader.read()))

    async with tunnel(answer_after_the_end) as way:
        reader, writer = await way.connect()
        writer.write(b"hello")
        writer.write_eof()

        assert await reader.read() == b"5 bytes"
        await closed(writer)
        await way.finished(1)


async def test_half_close_by_the_origin_leaves_the_client_its_way() -> None:
    heard = asyncio.get_running_loop().create_future()

    async def end_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"all I have")
        writer.write_eof()
        heard.set_result(await reader.read())

    async with tunnel(end_first) as way:
        reader, writer = await way.connect()
        assert await reader.read() == b"all I have"
        writer.write(b"and this is mine")
        writer.write_eof()

        assert await heard == b"and this is mine"
        await closed(writer)
        await way.finished(1)
        assert way.closed == way.far_closed == [None]


async def test_500_connections_at_once_all_work_and_leave_nothing() -> None:
    async with tunnel(echo) as way:

        async def one(number: int) -> bool:
            reader, writer = await way.connect()
            writer.write(b"%d" % number)
            writer.write_eof()
            answer = await reader.read()
            await closed(writer)
            return answer == b"%d" % number

        assert all(await asyncio.gather(*map(one, range(500))))
        await way.finished(500)
        assert way.near.streams == way.far.streams == {}


# -- resets


async def test_reset_by_the_client_resets_the_origin() -> None:
    heard = asyncio.get_running_loop().create_future()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"ready")
        try:
            heard.set_result(await reader.read())
        except OSError as error:
            heard.set_result(error)

    async with tunnel(wait) as way:
        reader, writer = await way.connect()
        await reader.readexactly(5)
        reset(writer)

        assert isinstance(await heard, ConnectionResetError)
        await way.finished(1)
        assert way.closed == way.far_closed == [Reason.RESET]
        assert way.near.streams == way.far.streams == {}


async def test_reset_by_the_origin_resets_the_client() -> None:
    async def refuse_the_word(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        reset(writer)

    async with tunnel(refuse_the_word) as way:
        reader, writer = await way.connect()
        writer.write(b"x")

        with pytest.raises(ConnectionResetError):
            await reader.read()
        await closed(writer)
        await way.finished(1)
        assert way.closed == way.far_closed == [Reason.RESET]


async def test_client_that_leaves_while_it_is_sent_to_resets_the_origin() -> None:
    ended = asyncio.get_running_loop().create_future()

    async def send_for_ever(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(BULK)
                await writer.drain()
        except OSError as error:
            ended.set_result(error)

    async with tunnel(send_for_ever) as way:
        reader, writer = await way.connect()
        await reader.readexactly(100_000)
        await closed(writer)

        assert isinstance(await ended, ConnectionError)
        await way.finished(1)
        assert way.near.streams == way.far.streams == {}


async def test_refused_dial_resets_the_client() -> None:
    async with tunnel(echo) as way:
        with socket.create_server(("127.0.0.1", 0)) as free:
            way.origin_port = free.getsockname()[1]
        reader, writer = await way.connect()

        with pytest.raises(ConnectionResetError):
            await reader.read()
        await closed(writer)
        assert way.closed == way.far_closed == [Reason.REFUSED]


async def test_loss_of_the_link_resets_both_sides() -> None:
    heard = asyncio.get_running_loop().create_future()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"ready")
        try:
            heard.set_result(await reader.read())
        except OSError as error:
            heard.set_result(error)

    async with tunnel(wait) as way:
        reader, writer = await way.connect()
        await reader.readexactly(5)
        way.near.abort()

        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert isinstance(await heard, ConnectionResetError)
        await closed(writer)
        await way.finished(1)
        assert way.closed == way.far_closed == [Reason.LINK_LOST]


# -- back-pressure


async def test_stalled_reader_holds_up_only_itself() -> None:
    origin_may_go = asyncio.Event()

    async def stall_at_the_first(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if await reader.readexactly(1) == b"s":
            await origin_may_go.wait()
        else:
            await echo(reader, writer)

    async with tunnel(stall_at_the_first) as way:
        _, stalled = await way.connect()
        sent = 1
        stalled.write(b"s")

        async def send_for_ever() -> None:
            nonlocal sent
            while True:
                stalled.write(bytes(65536))
                await stalled.drain()
                sent += 65536

        sending = asyncio.create_task(send_for_ever())
        before = 0
        while sent > before:  # until nothing more is taken from it while others get on
            before = sent
            assert await echoed(way, b"." + BULK) == BULK
        assert way.near.streams[1].credit == 0
        sending.cancel()
        origin_may_go.set()
        reset(stalled)
        await asyncio.wait([sending])
        await way.finished(1)


async def echoed(way: Tunnel, data: bytes) -> bytes:
    """What comes back of `data` on a connection of its own."""
    reader, writer = await way.connect()
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    await closed(writer)
    return answer
