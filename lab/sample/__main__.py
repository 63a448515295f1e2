"""Serve everything, on both families, until stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

from . import bulk, plain, web

HTTP_PORT = 8080
ECHO_PORT = 7000
UDP_ECHO_PORT = 7001
BULK_PORT = 7002
RESET_PORT = 7003
_BACKLOG = 4096


async def main() -> None:
    """Until SIGTERM."""
    loop = asyncio.get_running_loop()
    identity = web.Identity(
        os.environ.get("NAME", "sample"), os.environ.get("VERSION", "1"), socket.gethostname()
    )
    protocols = {
        HTTP_PORT: lambda: web.Connection(identity),
        ECHO_PORT: plain.CountingEcho,
        BULK_PORT: bulk.Choice,
        RESET_PORT: plain.Resetter,
    }
    for port, protocol in protocols.items():
        await loop.create_server(protocol, sock=_listener(port), backlog=_BACKLOG)
    datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    datagrams.bind(("::", UDP_ECHO_PORT))
    await loop.create_datagram_endpoint(plain.DatagramEcho, sock=datagrams)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


def _listener(port: int) -> socket.socket:
    return socket.create_server(
        ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
    )


if __name__ == "__main__":
    asyncio.run(main())
