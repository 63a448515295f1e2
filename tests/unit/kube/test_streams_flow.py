"""How a port-forward holds back, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.forwards import (
    BINARY,
    CLOSE,
    PORTS,
    Recorder,
    cluster,
    echo,
    forward,
    pattern,
    wait_for_close,
)
from tests.fakes.kubelet import Channel
from tests.fakes.switching import Asked, frame, serving
from towline.kube import channels
from towline.kube.client import Client
from towline.kube.streams import PortForwardError, port_forward

if TYPE_CHECKING:
    import ssl

    from towline.kube.config import Tls


async def test_close_sends_all_that_was_written() -> None:
    data = pattern(3_000_000)
    received = asyncio.get_running_loop().create_future()

    async def sink(channel: Channel) -> None:
        received.set_result(await channel.read())

    async with cluster() as (pods, client):
        pods.listen(80, sink)
        transport, protocol = await forward(client)
        transport.write(data)
        transport.close()
        transport.write(b"too late")

        assert transport.is_closing()
        assert await protocol.end() is None
        assert await received == data
    assert pods.closed_with == [1000]


async def test_abort_ends_at_once() -> None:
    async with cluster() as (pods, client):
        pods.listen(80, wait_for_close)
        transport, protocol = await forward(client)
        transport.abort()

        assert await protocol.end() is None
        assert transport.is_closing()


async def test_paused_reading_gives_nothing_and_holds_back_the_sender() -> None:
    data = pattern(30_000_000)

    async def source(channel: Channel) -> None:
        for start in range(0, len(data), 30_000):
            await channel.write(data[start : start + 30_000])

    async with cluster() as (pods, client):
        pods.listen(80, source)
        transport, protocol = await forward(client)
        await protocol.until(1)
        transport.pause_reading()
        assert not transport.is_reading()
        size = protocol.size
        # The sender comes to a halt: its socket and ours are full.
        for _ in range(50):
            await asyncio.sleep(0.002)
        assert protocol.size == size
        assert pods.open == 1

        transport.resume_reading()
        assert await protocol.end() is None
        assert protocol.data == data


class OneByOne(Recorder):
    """Pauses with each piece."""

    def data_received(self, data: Any) -> None:
        super().data_received(data)
        self.transport.pause_reading()


async def test_pausing_inside_data_received_holds_back_the_rest_of_the_same_read() -> None:
    async def answer(asked: Asked) -> None:
        await asked.switch(behind=PORTS + frame(BINARY, b"\0a") + frame(BINARY, b"\0b"))
        await asked.send(frame(BINARY, b"\0c") + frame(CLOSE, b"\x03\xe8"))

    async with serving(answer) as server, Client(server.access()) as client:
        assert await _resume_one_by_one(client) is None


@pytest.mark.parametrize("end", [frame(CLOSE, b"\x03\xe8"), b""])
async def test_what_is_held_back_survives_the_connection(
    end: bytes, server_tls: ssl.SSLContext, trusting: Tls
) -> None:
    async def answer(asked: Asked) -> None:
        data = b"".join(frame(BINARY, bytes((0, letter))) for letter in b"abc")
        # All of it, and the end of the TLS session, in as few packets as can be.
        await asked.switch(behind=PORTS + data + end)
        asked.writer.close()
        await asked.writer.wait_closed()

    async with (
        serving(answer, server_tls) as server,
        Client(server.access(trusting)) as client,
    ):
        error = await _resume_one_by_one(client, meanwhile=lambda: server.gone(0))

    assert (error is None) is bool(end)


async def _resume_one_by_one(
    client: Client, meanwhile: Callable[[], Awaitable[None]] | None = None
) -> Exception | None:
    """Take the letters that a server sends, and give what the connection ended with."""
    transport, protocol = await forward(client, protocol=OneByOne())
    if meanwhile is not None:
        await meanwhile()
    for expected in (b"a", b"ab", b"abc"):
        await protocol.until(len(expected))
        assert protocol.data == expected
        assert not protocol.lost.done()
        transport.resume_reading()

    error = await protocol.end()
    assert protocol.data == b"abc"
    return error


async def test_pausing_as_soon_as_connected_holds_back_everything() -> None:
    class NotYet(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.pause_reading()

    data = pattern(30_000_000)
    sent = 0

    async def source(channel: Channel) -> None:
        nonlocal sent
        for start in range(0, len(data), 30_000):
            await channel.write(data[start : start + 30_000])
            sent += 30_000

    async with cluster() as (pods, client):
        pods.listen(80, source)
        transport, protocol = await forward(client, protocol=NotYet())
        for _ in range(50):
            await asyncio.sleep(0.002)
        assert protocol.data == b""
        assert sent < len(data)

        transport.resume_reading()
        assert await protocol.end() is None
        assert protocol.data == data


@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_protocol_is_paused_while_the_other_side_does_not_read(
    kind: str, server_tls: ssl.SSLContext, trusting: Tls
) -> None:
    go_on = asyncio.Event()

    async def answer(asked: Asked) -> None:
        await asked.switch(behind=PORTS)
        await go_on.wait()
        await asked.reader.read()

    own, user = (server_tls, trusting) if kind == "tls" else (None, None)
    async with serving(answer, own) as server, Client(server.access(user)) as client:
        transport, protocol = await forward(client)
        transport.set_write_buffer_limits(high=100_000, low=10_000)
        assert transport.get_write_buffer_limits() == (10_000, 100_000)
        for _ in range(200):
            transport.write(bytes(100_000))
        assert protocol.calls[-1] == "pause_writing"
        assert transport.get_write_buffer_size() > 100_000

        go_on.set()
        await protocol.until(call="resume_writing")
        assert transport.get_write_buffer_size() <= 10_000
        transport.abort()
        await protocol.end()


async def test_close_does_not_wait_for_a_server_that_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channels, "CLOSE_SECONDS", 0.02)

    async def answer(asked: Asked) -> None:
        await asked.switch(behind=PORTS)
        await asyncio.Event().wait()

    async with serving(answer) as server, Client(server.access()) as client:
        transport, protocol = await forward(client)
        transport.write(bytes(10_000_000))  # more than the sockets take
        transport.pause_reading()
        transport.close()

        assert await protocol.end() is None


async def test_close_does_not_wait_for_a_protocol_that_is_paused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channels, "CLOSE_SECONDS", 1000)

    async with cluster() as (pods, client):
        pods.listen(80, echo)
        transport, protocol = await forward(client)
        transport.pause_reading()
        transport.write(bytes(100_000))
        transport.close()

        assert await protocol.end() is None
        assert protocol.data == b""


async def test_close_discards_what_still_comes_in() -> None:
    async def answer(asked: Asked) -> None:
        await asked.switch(behind=PORTS + frame(BINARY, b"\0a"))
        await asked.read_frame()
        await asked.send(frame(BINARY, b"\0b") + frame(CLOSE, b"\x03\xe8"))

    async with serving(answer) as server, Client(server.access()) as client:
        transport, protocol = await forward(client)
        transport.close()
        transport.close()

        assert await protocol.end() is None
        assert protocol.data == b"a"


async def test_failing_protocol_loses_the_connection() -> None:
    class Failing(Recorder):
        def data_received(self, data: Any) -> None:
            raise RuntimeError("a mistake")

    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))

    async with cluster() as (pods, client):
        pods.listen(80, echo)
        transport, protocol = await forward(client, protocol=Failing())
        transport.write(b"x")
        error = await protocol.end()

    assert isinstance(error, PortForwardError)
    assert isinstance(error.__cause__, channels.BrokenError)
    assert [str(problem["exception"]) for problem in problems] == ["a mistake"]


async def test_failing_factory_closes_the_connection() -> None:
    def fail() -> Recorder:
        raise RuntimeError("a mistake")

    async def answer(asked: Asked) -> None:
        await asked.switch(behind=PORTS)
        await asked.reader.read()

    async with serving(answer) as server, Client(server.access()) as client:
        with pytest.raises(RuntimeError, match="a mistake"):
            await port_forward(client, "dev", "web-0", 80, fail)
        await server.gone(0)


async def test_protocol_can_be_replaced() -> None:
    async with cluster() as (pods, client):
        pods.listen(80, echo)
        transport, first = await forward(client)
        second = Recorder()
        assert transport.get_protocol() is first
        transport.set_protocol(second)
        transport.write(b"for the second")
        await second.until(len(b"for the second"))
        transport.close()

        assert await second.end() is None
        assert not first.lost.done()
        assert first.data == b""
