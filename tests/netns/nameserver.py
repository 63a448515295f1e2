"""A nameserver that answers everything with its own name, over UDP and TCP; and its client.

Queries are plain bytes here: the redirect does not read them.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, answer):
        self._answer = answer
        self._tasks = set()

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, peer):
        task = asyncio.ensure_future(self._reply(data, peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, data, peer):
        self._transport.sendto(await self._answer(data, socket.SOCK_DGRAM), peer)


@asynccontextmanager
async def serving(answer, hosts, port=0):
    """Serve `answer(query, kind) -> bytes` on one port of all hosts; gives the port."""
    loop = asyncio.get_running_loop()
    closing = []

    async def serve_tcp(reader, writer):
        writer.write(await answer(await reader.readline(), socket.SOCK_STREAM))
        writer.close()

    try:
        for host in hosts:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Udp(answer), local_addr=(host, port)
            )
            closing.append(transport)
            port = transport.get_extra_info("sockname")[1]
            closing.append(await asyncio.start_server(serve_tcp, host, port))
        yield port
    finally:
        for each in closing:
            each.close()


def named(name):
    """An `answer` that says who gave it."""

    async def answer(query, kind):
        return name.encode()

    return answer


async def query(host, kind=socket.SOCK_DGRAM, through=None):
    """Ask port 53 of a host, through a socket if one is given; gives the answer."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    client = through or socket.socket(family, kind)
    loop = asyncio.get_running_loop()
    with client:
        client.setblocking(False)
        async with asyncio.timeout(5):
            await loop.sock_connect(client, (host, 53))
            await loop.sock_sendall(client, b"who are you?\n")
            return (await loop.sock_recv(client, 100)).decode()
