"""HTTP/1.1 in the raw: a server and a client that see each byte, each connection, each header."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Headers = list[tuple[str, str]]
HEAD_LIMIT = 1 << 21


@dataclass
class Message:
    """The head of a request or a response, then its body."""

    first: str
    headers: Headers
    body: bytes = b""

    @property
    def status(self) -> int:
        return int(self.first.split()[1])

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each.lower() == name.lower()]

    def json(self) -> dict:
        return json.loads(self.body)


async def read_head(reader: asyncio.StreamReader) -> Message:
    """Raises IncompleteReadError at the end of the connection."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = [line.partition(":") for line in lines[1:] if line]
    return Message(lines[0], [(name, value.strip()) for name, _, value in pairs])


async def read_body(message: Message, reader: asyncio.StreamReader) -> bytes:
    if "chunked" in message.values("transfer-encoding"):
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        while (await reader.readline()).strip():
            pass  # trailers
        return body
    if length := message.values("content-length"):
        return await reader.readexactly(int(length[0]))
    return b""


@dataclass
class Exchange:
    """One request that a server has, and the way back."""

    server: Server
    request: Message
    connection: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, status: str, *headers: str, body: bytes = b"") -> None:
        head = "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""])
        self.writer.write(head.encode("latin-1") + body)


async def tell(exchange: Exchange) -> None:
    """Answer who one is, and what one was asked."""
    body = await read_body(exchange.request, exchange.reader)
    told = {
        "who": exchange.server.name,
        "line": exchange.request.first,
        "headers": exchange.request.headers,
        "connection": exchange.connection,
        "bytes": len(body),
    }
    answer = json.dumps(told).encode()
    exchange.send("200 OK", f"Content-Length: {len(answer)}", "X-CaSe: KePt", body=answer)


@dataclass
class Server:
    """Listens on a loopback port; `handler` answers each request of each connection."""

    name: str
    handler: Callable[[Exchange], Awaitable[None]] = tell
    requests: list[Message] = field(default_factory=list)
    open: set[int] = field(default_factory=set)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    _numbers: itertools.count = field(default_factory=itertools.count)

    @asynccontextmanager
    async def listening(self, port: int = 0, context: ssl.SSLContext | None = None):
        server = await asyncio.start_server(
            self._serve, "127.0.0.1", port, limit=HEAD_LIMIT, ssl=context, backlog=1000
        )
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(self._numbers)
        self.open.add(number)
        try:
            while True:
                request = await read_head(reader)
                self.requests.append(request)
                await self.handler(Exchange(self, request, number, reader, writer))
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            self.open.discard(number)
            writer.close()


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, line: str, *headers: str, body: bytes = b"") -> None:
        host = [] if any(each.lower().startswith("host:") for each in headers) else ["Host: web"]
        head = "\r\n".join([f"{line} HTTP/1.1", *host, *headers, "", ""])
        self.writer.write(head.encode("latin-1") + body)

    async def receive(self) -> Message:
        message = await read_head(self.reader)
        message.body = await read_body(message, self.reader)
        return message

    async def ask(self, line: str = "GET /", *headers: str, body: bytes = b"") -> Message:
        self.send(line, *headers, body=body)
        return await self.receive()


@asynccontextmanager
async def connected(port: int, context: ssl.SSLContext | None = None):
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        port,
        limit=HEAD_LIMIT,
        ssl=context,
        server_hostname="localhost" if context else None,
    )
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def ask(port: int, line: str = "GET /", *headers: str, body: bytes = b"") -> Message:
    """Ask on a connection of its own."""
    async with connected(port) as client:
        return await client.ask(line, *headers, body=body)
