"""Local connections and datagrams on their way by a real link and a real agent in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.unit.link.agents import linked
from towline.features.uplink import listening
from towline.features.uplink.forward.ports import Chosen
from towline.features.uplink.forward.streams import ByLink
from towline.features.uplink.forward.troubles import Troubles
from towline.features.uplink.listening import Arrival
from towline.wire.target import Port, Protocol

HERE = "127.0.0.1"


class Told:
    def __init__(self) -> None:
        self.events: asyncio.Queue[str] = asyncio.Queue()

    def progress(self, message: str) -> None: ...

    def event(self, name: str, message: str, **data: Any) -> None:
        self.events.put_nowait(f"{name}: {message}")


@asynccontextmanager
async def forwarding(port: Port, host: str = HERE) -> AsyncIterator[tuple[int, Told]]:
    """A local port that leads to one of `host`; gives its number, and what is told."""
    kind = socket.SOCK_DGRAM if port.protocol is Protocol.UDP else socket.SOCK_STREAM
    (bound,) = listening.bind((HERE,), 0, kind)
    told, chosen = Told(), Chosen(port, bound.getsockname()[1])
    async with linked() as (_, link, _), asyncio.TaskGroup() as group:
        by_link = ByLink(link, lambda: host, Troubles("svc/web", told))
        if kind == socket.SOCK_DGRAM:
            serving = group.create_task(by_link.serve_datagrams(bound, chosen))
            yield chosen.local, told
            serving.cancel()
            return

        def arrived(transport: asyncio.Transport) -> None:
            group.create_task(by_link.carry(transport, chosen))

        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Arrival(arrived), sock=bound)
        yield chosen.local, told
        server.close()


async def echo_after_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer when the client has ended its half."""
    writer.write(b"all: " + await reader.read())
    writer.close()


async def test_half_close_is_kept() -> None:
    server = await asyncio.start_server(echo_after_the_end, HERE, 0)
    async with forwarding(Port(server.sockets[0].getsockname()[1])) as (port, _):
        reader, writer = await asyncio.open_connection(HERE, port)
        words = b"x" * (1 << 20)
        writer.write(words)
        writer.write_eof()
        assert await reader.read() == b"all: " + words
        writer.close()
    server.close()


async def test_refused_connection_is_reset_and_told_once_until_one_works() -> None:
    probe = socket.create_server((HERE, 0))
    number = probe.getsockname()[1]
    probe.close()
    async with forwarding(Port(number)) as (port, told):
        for _ in range(2):
            reader, writer = await asyncio.open_connection(HERE, port)
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
        assert "unreachable: A connection to svc/web, port" in told.events.get_nowait()
        assert told.events.empty()
        server = await asyncio.start_server(echo_after_the_end, HERE, number)
        reader, writer = await asyncio.open_connection(HERE, port)
        writer.write_eof()
        assert await reader.read() == b"all: "
        writer.close()
        server.close()
        reader, writer = await asyncio.open_connection(HERE, port)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        assert "refused" in told.events.get_nowait()


async def test_connection_to_nobody_is_reset_with_the_reason() -> None:
    async with forwarding(Port(80), "") as (port, told):
        reader, writer = await asyncio.open_connection(HERE, port)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        assert "no pod of it is ready" in told.events.get_nowait()


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.clients: set[Any] = set()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.clients.add(addr)
        self.transport.sendto(data.upper(), addr)


async def test_each_client_of_a_port_for_datagrams_is_one_there() -> None:
    loop = asyncio.get_running_loop()
    transport, echo = await loop.create_datagram_endpoint(Echo, (HERE, 0))
    number = transport.get_extra_info("sockname")[1]
    async with forwarding(Port(number, Protocol.UDP)) as (port, _):
        for words in (b"one", b"two"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.connect((HERE, port))
                client.send(words)
                assert await asyncio.wait_for(loop.sock_recv(client, 100), 5) == words.upper()
                client.send(words * 2)
                assert await asyncio.wait_for(loop.sock_recv(client, 100), 5) == words.upper() * 2
        assert len(echo.clients) == 2
    transport.close()
