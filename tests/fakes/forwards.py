"""Port-forwards for tests: a protocol that keeps what it is told, and a cluster to forward from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.fakes.apiserver import ApiServer
from tests.fakes.kubelet import Channel, PortForward
from tests.fakes.switching import frame
from towline.kube.client import Client
from towline.kube.streams import PortForwardTransport, port_forward

if TYPE_CHECKING:
    import ssl

    from towline.kube.config import Tls

BINARY, CLOSE, PING, PONG = 2, 8, 9, 10
PORTS = frame(BINARY, b"\0\x50\0") + frame(BINARY, b"\1\x50\0")


class Recorder(asyncio.Protocol):
    """Keeps what it is told, the data as the very objects that it is given."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.pieces: list[memoryview] = []
        self.size = 0
        self.calls: list[str] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._news = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.calls.append("connection_made")

    def data_received(self, data: Any) -> None:
        self.pieces.append(data)
        self.size += len(data)
        self._news.set()

    def pause_writing(self) -> None:
        self.calls.append("pause_writing")
        self._news.set()

    def resume_writing(self) -> None:
        self.calls.append("resume_writing")
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    async def until(self, size: int = 0, call: str = "") -> None:
        """Wait until so much was received, and that call was made."""
        async with asyncio.timeout(10):
            while self.size < size or (call and call not in self.calls):
                self._news.clear()
                await self._news.wait()

    async def end(self) -> Exception | None:
        """What connection_lost was called with."""
        async with asyncio.timeout(10):
            return await self.lost


@asynccontextmanager
async def cluster(
    context: ssl.SSLContext | None = None, trusting: Tls | None = None
) -> AsyncIterator[tuple[PortForward, Client]]:
    async with (
        ApiServer(tls=context) as server,
        Client(server.access(tls=trusting)) as client,
    ):
        yield PortForward(server), client


async def forward(
    client: Client, port: int = 80, protocol: Recorder | None = None
) -> tuple[PortForwardTransport, Recorder]:
    return await port_forward(client, "dev", "web-0", port, lambda: protocol or Recorder())


async def echo(channel: Channel) -> None:
    while data := await channel.read(100_000):
        await channel.write(data)


async def wait_for_close(channel: Channel) -> None:
    await channel.read()


def pattern(size: int) -> bytes:
    return b"".join(i.to_bytes(4, "big") for i in range(-(-size // 4)))[:size]
