"""The proxy's connections, by a real link and a real agent in this process, and from here."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.unit.link.agents import Cluster, linked
from towline.features.uplink.proxy.conversation import Conversation
from towline.features.uplink.proxy.whose import Unknown

HERE = "127.0.0.1"
INSIDE, OUTSIDE, UNKNOWN = "web", "127.0.0.1", "unknown"
GREETING = b"\x05\x01\x00"


class Whose:
    """One name is the cluster's, by another name there."""

    async def in_cluster(self, host: str) -> str | None:
        if host == UNKNOWN:
            raise Unknown
        return HERE if host == INSIDE else None


@asynccontextmanager
async def proxy() -> AsyncIterator[tuple[int, Cluster]]:
    loop = asyncio.get_running_loop()
    clients: list[asyncio.BaseTransport] = []

    class Noted(Conversation):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            clients.append(transport)
            super().connection_made(transport)

    async with linked() as (cluster, link, _), asyncio.TaskGroup() as group:
        server = await loop.create_server(
            lambda: Noted(link, Whose(), group),  # type: ignore[arg-type]
            HERE,
            0,
        )
        yield server.sockets[0].getsockname()[1], cluster
        server.close()
        for each in clients:
            each.close()


async def echo_after_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"all: " + await reader.read())
    writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    server = await asyncio.start_server(echo_after_the_end, HERE, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def closed_port() -> int:
    with socket.create_server((HERE, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def socks5(host: str, port: int) -> bytes:
    return b"\x05\x01\x00\x03" + bytes((len(host),)) + host.encode() + struct.pack("!H", port)


async def ask(port: int, *said: bytes) -> bytes:
    """What the proxy says until its end, when the client has said all and ended its half."""
    reader, writer = await asyncio.open_connection(HERE, port)
    for each in said:
        writer.write(each)
    writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


@pytest.mark.parametrize("host", [INSIDE, OUTSIDE])
async def test_half_close_is_kept_on_either_way(host: str) -> None:
    words = b"x" * (1 << 20)
    async with proxy() as (port, _), serving() as there:
        answer = await ask(port, GREETING, socks5(host, there), words)
        assert answer[:4] == b"\x05\x00\x05\x00"
        assert answer[2 + 4 :].endswith(b"all: " + words)


@pytest.mark.parametrize("host", [INSIDE, OUTSIDE])
async def test_refusal_is_told_as_such(host: str) -> None:
    async with proxy() as (port, _):
        answer = await ask(port, GREETING, socks5(host, closed_port()))
        assert answer[:4] == b"\x05\x00\x05\x05"
        answer = await ask(port, f"CONNECT {host}:{closed_port()} HTTP/1.0\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert b"it is refused there" in answer


async def test_name_of_which_the_cluster_does_not_say_anything_is_not_looked_for_elsewhere() -> (
    None
):
    async with proxy() as (port, _):
        answer = await ask(port, f"CONNECT {UNKNOWN}:80 HTTP/1.0\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 503 ")


async def test_what_is_no_request_is_answered_and_the_proxy_goes_on() -> None:
    async with proxy() as (port, _), serving() as there:
        assert (await ask(port, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        assert await ask(port, b"\x05\x01\x02") == b"\x05\xff"
        assert (await ask(port, GREETING, socks5(INSIDE, there), b"x")).endswith(b"all: x")


@pytest.mark.parametrize("host", [INSIDE, OUTSIDE])
async def test_reset_is_a_reset(host: str) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    server = await asyncio.start_server(cut, HERE, 0)
    async with proxy() as (port, _):
        reader, writer = await asyncio.open_connection(HERE, port)
        writer.write(GREETING + socks5(host, server.sockets[0].getsockname()[1]) + b"x")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 10)
        writer.close()
    server.close()


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data.upper(), addr)


async def test_datagrams_go_either_way_while_the_connection_lasts() -> None:
    loop = asyncio.get_running_loop()
    echo, _ = await loop.create_datagram_endpoint(Echo, (HERE, 0))
    there = struct.pack("!H", echo.get_extra_info("sockname")[1])
    async with proxy() as (port, _):
        reader, writer = await asyncio.open_connection(HERE, port)
        writer.write(GREETING + b"\x05\x03\x00\x01" + bytes(6))
        await reader.readexactly(2)
        reply = await reader.readexactly(10)
        assert reply[:8] == b"\x05\x00\x00\x01\x7f\x00\x00\x01"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect((HERE, struct.unpack("!H", reply[8:])[0]))
            for host in (b"\x03\x03web", b"\x01\x7f\x00\x00\x01"):
                client.send(b"\0\0\1" + host + there + b"fragment")
                client.send(b"\0\0\0" + host + there + b"hello")
                answer = await asyncio.wait_for(loop.sock_recv(client, 100), 10)
                assert answer == b"\0\0\0\x01\x7f\x00\x00\x01" + there + b"HELLO"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.setblocking(False)
                other.connect(client.getpeername())
                other.send(b"\0\0\0\x03\x03web" + there + b"not mine")
                client.send(b"\0\0\0\x03\x03web" + there + b"mine")
                answer = await asyncio.wait_for(loop.sock_recv(client, 100), 10)
                assert answer.endswith(b"MINE")
                with pytest.raises(BlockingIOError):
                    other.recv(100)
            writer.close()
            # The port is gone with the connection: the kernel says so to whoever sends there.
            with suppress(ConnectionRefusedError):
                while True:
                    client.send(b"x")
                    await asyncio.sleep(0)
    echo.close()
