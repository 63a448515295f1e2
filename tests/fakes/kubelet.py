"""The streams of a kubelet: port-forward and exec over WebSockets, as handlers for ApiServer.

    async with ApiServer() as server, Client(server.access()) as client:
        forward = PortForward(server)
        forward.listen(8080, echo)
        await port_forward(client, "default", "web-0", 8080, MyProtocol)

The framing is aiohttp's, so that it tells us when ours is wrong.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import WSCloseCode, WSMsgType, web

if TYPE_CHECKING:
    from tests.fakes.apiserver import ApiServer

Serve = Callable[["Channel"], Awaitable[None]]


class Channel:
    """One end of a stream of bytes inside a WebSocket."""

    def __init__(self, socket: web.WebSocketResponse, number: int) -> None:
        self.socket = socket
        self.number = number
        self.messages: list[int] = []
        """The sizes of the messages that came in, without the channel's number."""
        self._reader = asyncio.StreamReader(limit=2**30)

    async def read(self, size: int = -1) -> bytes:
        """As StreamReader.read."""
        return await self._reader.read(size)

    async def read_exactly(self, size: int) -> bytes:
        """As StreamReader.readexactly."""
        return await self._reader.readexactly(size)

    async def write(self, data: bytes) -> None:
        """One message."""
        await self.socket.send_bytes(bytes((self.number,)) + data)

    def feed(self, data: bytes) -> None:
        """What came in."""
        self.messages.append(len(data))
        self._reader.feed_data(data)

    def feed_eof(self) -> None:
        """Nothing comes any more."""
        self._reader.feed_eof()


class PortForward:
    """Serves pods/portforward: what the pod has on its ports are functions of a Channel.

    A function's exception is what goes to the error channel, in the kubelet's words.
    """

    def __init__(self, server: ApiServer) -> None:
        self.ports: dict[int, Serve] = {}
        self.served = 0
        self.open = 0
        """How many port-forwards there are now."""
        self.closed_with: list[int | None] = []
        """With which codes they ended that there were, None without a close frame."""
        server.handlers["pods", "portforward"] = self._handle

    def listen(self, port: int, serve: Serve) -> None:
        """Have a program on a port."""
        self.ports[port] = serve

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            protocols=["v4.channel.k8s.io"], max_msg_size=0, autoping=True, timeout=1.0
        )
        await socket.prepare(request)
        self.served += 1
        self.open += 1
        try:
            await self._serve(socket, int(request.query["ports"]))
        finally:
            self.open -= 1
            self.closed_with.append(socket.close_code)
        return socket

    async def _serve(self, socket: web.WebSocketResponse, port: int) -> None:
        data, errors = Channel(socket, 0), Channel(socket, 1)
        for channel in (data, errors):
            await channel.write(port.to_bytes(2, "little"))
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(_pump(socket, {0: data}))
            try:
                await self.ports.get(port, _refuse)(data)
            except PortError as error:
                await errors.write(
                    f"error forwarding port {port} to pod abc, uid : {error}".encode()
                )
            # A close of the client's is answered already, by the pump.
            await socket.close()
            reading.cancel()


class PortError(Exception):
    """What a runtime says when it cannot forward."""


async def _refuse(_: Channel) -> None:
    raise PortError("failed to dial: connect: connection refused")


async def _pump(socket: web.WebSocketResponse, channels: dict[int, Channel]) -> None:
    """Give what comes in to the channels."""
    try:
        async for message in socket:
            if message.type is WSMsgType.BINARY and message.data[0] in channels:
                channels[message.data[0]].feed(message.data[1:])
            elif message.type is WSMsgType.BINARY and message.data[0] == 255:
                channels[message.data[1]].feed_eof()
    finally:
        for channel in channels.values():
            channel.feed_eof()


class Exec:
    """Serves pods/exec: `run` is the command, and gives its exit code or raises PortError."""

    def __init__(self, server: ApiServer, subprotocols: list[str]) -> None:
        self.run: Callable[[Running], Awaitable[int]] = _true
        self.queries: list[list[tuple[str, str]]] = []
        self._subprotocols = subprotocols
        server.handlers["pods", "exec"] = self._handle

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(list(request.query.items()))
        socket = web.WebSocketResponse(protocols=self._subprotocols, timeout=1.0)
        await socket.prepare(request)
        running = Running(socket)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(_pump(socket, {0: running.stdin, 4: running.sizes}))
            with suppress(ConnectionError):
                await running.status.write(json.dumps(await self._status(running)).encode())
            await socket.close(code=WSCloseCode.OK)
            reading.cancel()
        return socket

    async def _status(self, running: Running) -> dict[str, Any]:
        try:
            code = await self.run(running)
        except PortError as error:
            return {"kind": "Status", "status": "Failure", "message": str(error), "code": 500}
        if code == 0:
            return {"kind": "Status", "status": "Success"}
        return {
            "kind": "Status",
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: exit status {code}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        }


class Running:
    """The streams of a command that runs."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.stdin = Channel(socket, 0)
        self.stdout = Channel(socket, 1)
        self.stderr = Channel(socket, 2)
        self.status = Channel(socket, 3)
        self.sizes = Channel(socket, 4)


async def _true(_: Running) -> int:
    return 0
