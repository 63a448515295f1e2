"""A plain byte pump: each local connection gets a WebSocket port-forward of its own.

    python -m benchmarks.rawforward NAMESPACE POD PORT

Prints the local port that it listens on. It is what the multiplexer is measured against: the
same WebSocket, and nothing else.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import cast

from towline.kube.client import Client
from towline.kube.config import load_access
from towline.kube.errors import ApiError
from towline.kube.streams import port_forward


class End(asyncio.Protocol):
    """One end of a pump: what it reads the other end writes."""

    def __init__(self, other: End | None = None) -> None:
        self.other = other or End(self)
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport.writelines(self._early)
        if self.other.closed:
            self.transport.close()

    def write(self, data: bytes) -> None:
        """Send, or keep until there is a connection."""
        if self.transport is None:
            self._early.append(data)
        else:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.other.write(data)

    def pause_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.closed = True
        if self.other.transport is not None:
            self.other.transport.close()


async def serve(namespace: str, pod: str, port: int) -> None:
    async with Client(load_access()) as client, asyncio.TaskGroup() as group:

        async def forward(near: Near) -> None:
            try:
                await port_forward(client, namespace, pod, port, lambda: near.other)
            except ApiError as error:
                print(error, file=sys.stderr)
                if near.transport is not None:
                    near.transport.abort()

        class Near(End):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                group.create_task(forward(self))

        loop = asyncio.get_running_loop()
        server = await loop.create_server(Near, "127.0.0.1", 0, backlog=128)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
