"""A server of one's own words for one WebSocket: raw bytes behind a real HTTP upgrade.

async def answer(asked: Asked) -> None:
    await asked.switch(behind=frame(2, b"hello"))

async with serving(answer) as server, Client(server.access()) as client:
    ...
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from towline.kube.config import Access, Tls, User
from towline.wire import websocket

if TYPE_CHECKING:
    import ssl

#: Called with each request; the connection is cut when it returns.
Answer = Callable[["Asked"], Awaitable[None]]


@dataclass
class Asked:
    """A request that a server got, and the connection to answer on."""

    lines: list[str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def header(self, name: str) -> list[str]:
        prefix = name.lower() + ": "
        return [line[len(prefix) :] for line in self.lines if line.lower().startswith(prefix)]

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def switch(self, behind: bytes = b"", **changes: str) -> None:
        """Answer as a WebSocket server does; `changes` replace headers, "" removes them."""
        accept = websocket.accept_of(self.header("Sec-WebSocket-Key")[0])
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept,
            "Sec-WebSocket-Protocol": "v4.channel.k8s.io",
        }
        headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
        await self.send(b"HTTP/1.1 101 Switching Protocols\r\n" + lines.encode() + b"\r\n" + behind)

    async def read_frame(self) -> tuple[int, bytes]:
        """The next frame of the client: its opcode, and its payload unmasked."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        mask = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(size)
        assert first & 0x80, "a client that splits its messages"
        assert second & 0x80, "a client's frame that is not masked"
        if any(mask):
            payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
        return first & 0x0F, payload

    async def read_until_close(self) -> None:
        """Take what the client sends until it closes, and answer that."""
        while (read := await self.read_frame())[0] != _CLOSE:
            pass
        await self.send(frame(_CLOSE, read[1]))


_CLOSE = 8


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A frame as a server sends it."""
    head = bytes((opcode | (0x80 if final else 0),))
    size = len(payload)
    if size < 126:
        return head + bytes((size,)) + payload
    if size < 65536:
        return head + struct.pack(">BH", 126, size) + payload
    return head + struct.pack(">BQ", 127, size) + payload


@dataclass
class Server:
    """Answers each request by the function given; `asked` are the requests."""

    answer: Answer
    port: int = 0
    asked: list[Asked] = field(default_factory=list)

    async def gone(self, index: int) -> None:
        """Wait until the connection of one of the requests is closed."""
        async with asyncio.timeout(5):
            await self.asked[index].writer.wait_closed()

    def access(self, trusting: Tls | None = None) -> Access:
        """How to reach this server; `trusting` when it speaks TLS."""
        return Access(
            server=f"{'https' if trusting else 'http'}://127.0.0.1:{self.port}",
            namespace="default",
            context="fake",
            source="a test",
            tls=trusting or Tls(),
            user=User(label="the user of the test"),
        )

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            self.asked.append(Asked(head, reader, writer))
            await self.answer(self.asked[-1])
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def serving(answer: Answer, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(answer)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.get_running_loop().create_task(server.handle(reader, writer)))

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
