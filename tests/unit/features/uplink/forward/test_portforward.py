"""Local connections on their way to a pod by port-forwards of a kubelet in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.fakes.forwards import cluster, echo
from tests.fakes.kubelet import Channel, PortError, PortForward
from tests.unit.features.uplink.forward.test_streams import Told
from towline.features.uplink.forward import portforward
from towline.features.uplink.forward.portforward import ByPod
from towline.features.uplink.forward.ports import Chosen
from towline.features.uplink.forward.troubles import Troubles
from towline.features.uplink.listening import Arrival
from towline.wire.target import Port

HERE = "127.0.0.1"
SECONDS = 10


class Pod:
    def __init__(self, name: str = "web-0") -> None:
        self.name = name
        self.spec: Any = {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}


@asynccontextmanager
async def forwarding(
    pod: Pod, listens: int | str = 8080
) -> AsyncIterator[tuple[PortForward, int, Told]]:
    """A local port that leads to port 80 of a service, with what is told of it."""
    told, chosen = Told(), Chosen(Port(80), 0)
    async with cluster() as (pods, client), asyncio.TaskGroup() as group:
        way = ByPod(client, "dev", pod, {Port(80): listens}, Troubles("svc/web", told))  # type: ignore[arg-type]

        clients: list[asyncio.Transport] = []

        def arrived(transport: asyncio.Transport) -> None:
            clients.append(transport)
            group.create_task(way.carry(transport, chosen))

        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Arrival(arrived), HERE, 0)
        yield pods, server.sockets[0].getsockname()[1], told
        server.close()
        for each in clients:
            each.abort()
        async with asyncio.timeout(SECONDS):
            while pods.open:
                await asyncio.sleep(0.01)


async def read(reader: asyncio.StreamReader, size: int = -1) -> bytes:
    return await asyncio.wait_for(reader.read(size), SECONDS)


@pytest.mark.parametrize("listens", [8080, "http"])
async def test_connection_goes_to_where_the_service_is_in_the_pod(listens: int | str) -> None:
    async with forwarding(Pod(), listens) as (pods, port, _):
        pods.listen(8080, echo)
        reader, writer = await asyncio.open_connection(HERE, port)
        words = b"x" * (1 << 20)
        writer.write(words)
        assert await asyncio.wait_for(reader.readexactly(len(words)), SECONDS) == words
        writer.close()
        await writer.wait_closed()


async def test_end_of_the_pod_is_one_in_order() -> None:
    async def greet(channel: Channel) -> None:
        await channel.write(b"hello")

    async with forwarding(Pod()) as (pods, port, _):
        pods.listen(8080, greet)
        reader, writer = await asyncio.open_connection(HERE, port)
        assert await read(reader) == b"hello"
        writer.close()
        await writer.wait_closed()


async def test_client_that_says_no_more_gets_what_the_pod_says_until_it_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(portforward, "SILENCE_SECONDS", 0.2)
    closed = asyncio.Event()

    async def answer(channel: Channel) -> None:
        await channel.read_exactly(5)
        await channel.write(b"late")
        try:
            await channel.read()
        finally:
            closed.set()

    async with forwarding(Pod()) as (pods, port, _):
        pods.listen(8080, answer)
        reader, writer = await asyncio.open_connection(HERE, port)
        writer.write(b"hello")
        writer.write_eof()
        assert await read(reader) == b"late"
        await asyncio.wait_for(closed.wait(), SECONDS)
        writer.close()
        await writer.wait_closed()


async def is_reset(port: int) -> bool:
    reader, writer = await asyncio.open_connection(HERE, port)
    try:
        return not await read(reader)
    except ConnectionResetError:
        return True
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("pod", "listens", "why"),
    [
        (Pod(), 8080, "it is refused there"),
        (Pod(""), 8080, "no pod of it is ready"),
        (Pod(), "other", "its pod has no port other"),
    ],
)
async def test_connection_that_cannot_be_made_is_reset_and_told(
    pod: Pod, listens: int | str, why: str
) -> None:
    async with forwarding(pod, listens) as (_, port, told):
        assert await is_reset(port)
        assert why in await asyncio.wait_for(told.events.get(), SECONDS)


async def test_reset_by_the_pod_is_a_reset_and_no_trouble() -> None:
    async def cut(_: Channel) -> None:
        raise PortError("read: connection reset by peer")

    async with forwarding(Pod()) as (pods, port, told):
        pods.listen(8080, cut)
        assert await is_reset(port)
        assert told.events.empty()
