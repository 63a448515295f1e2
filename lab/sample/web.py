"""HTTP/1.1 (RFC 9112) as far as a test needs it: requests with a length or chunked, answered
in order over one connection.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import cast

_REASONS = {200: "OK", 400: "Bad Request"}


@dataclass(frozen=True)
class Identity:
    """Who answers."""

    name: str
    version: str
    pod: str


class Connection(asyncio.Protocol):
    """Answers each request with JSON: name, version, pod and port of who answers, method, path,
    headers (names in lower case), client address and port, and the number of bytes of the body.

    It notes down requests of the kubelet, and connections on which nothing was said: in `probe`
    their kind, `http` or `tcp`, with port, path, and client address.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._reader = asyncio.StreamReader()
        self._silent = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to answer."""
        self._transport = cast(asyncio.Transport, transport)
        self._reader.set_transport(self._transport)
        client = transport.get_extra_info("peername")
        self._client, self._client_port = client[0].removeprefix("::ffff:"), client[1]
        self._port = transport.get_extra_info("sockname")[1]
        self._task = asyncio.ensure_future(self._serve())

    def data_received(self, data: bytes) -> None:
        """Part of a request."""
        self._silent = False
        self._reader.feed_data(data)

    def eof_received(self) -> bool:
        """The client has no more requests; those on the way are still answered."""
        self._reader.feed_eof()
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        """The client is gone."""
        if self._silent:
            self._note("tcp")
        self._task.cancel()

    async def _serve(self) -> None:
        try:
            while await self._answer_one():
                pass
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except ValueError:
            self._write(400, {"error": "this is not HTTP"}, close=True)
        finally:
            self._transport.close()

    async def _answer_one(self) -> bool:
        """Whether the connection stays open for the next request."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        method, path, version = first.split(" ")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            key = name.lower()
            headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("user-agent", "").startswith("kube-probe/"):
            self._note("http", path)
        size = await self._skip_body(headers)
        content = {
            "name": self._identity.name,
            "version": self._identity.version,
            "pod": self._identity.pod,
            "port": self._port,
            "method": method,
            "path": path,
            "headers": headers,
            "client": self._client,
            "client_port": self._client_port,
            "body_bytes": size,
        }
        close = version == "HTTP/1.0" or headers.get("connection", "").lower() == "close"
        self._write(200, content, close=close, body=method != "HEAD")
        return not close

    def _note(self, kind: str, path: str = "") -> None:
        noted = {"probe": kind, "port": self._port, "path": path, "client": self._client}
        print(json.dumps(noted), flush=True)

    async def _skip_body(self, headers: dict[str, str]) -> int:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return await self._skip(int(headers.get("content-length", "0")))
        total = 0
        while length := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
            total += await self._skip(length)
            await self._reader.readuntil(b"\r\n")
        while await self._reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return total

    async def _skip(self, size: int) -> int:
        left = size
        while left:
            piece = await self._reader.read(min(left, 1 << 18))
            if not piece:
                raise asyncio.IncompleteReadError(piece, left)
            left -= len(piece)
        return size

    def _write(self, code: int, content: object, *, close: bool, body: bool = True) -> None:
        payload = json.dumps(content).encode() + b"\n"
        head = (
            f"HTTP/1.1 {code} {_REASONS[code]}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(payload)}\r\n"
            f"Connection: {'close' if close else 'keep-alive'}\r\n\r\n"
        )
        self._transport.write(head.encode() + (payload if body else b""))
