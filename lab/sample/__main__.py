"""Serve everything, on both families, until stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

from . import bulk, plain, web

HTTP_PORTS = (8080, 8081)
ECHO_PORT = 7000
UDP_ECHO_PORT = 7001
BULK_PORT = 7002
RESET_PORT = 7003
UDP_NAME_PORT = 7004
_BACKLOG = 4096


async def main() -> None:
    """Until SIGTERM."""
    loop = asyncio.get_running_loop()
    identity = web.Identity(
        os.environ.get("NAME", "sample"), os.environ.get("VERSION", "1"), socket.gethostname()
    )
    offset = int(os.environ.get("PORT_OFFSET", "0"))
    streams = {
        **dict.fromkeys(HTTP_PORTS, lambda: web.Connection(identity)),
        ECHO_PORT: plain.CountingEcho,
        BULK_PORT: bulk.Choice,
        RESET_PORT: plain.Resetter,
    }
    datagrams = {
        UDP_ECHO_PORT: plain.DatagramEcho,
        UDP_NAME_PORT: lambda: plain.DatagramEcho(f"{identity.pod} ".encode()),
    }
    for port, protocol in streams.items():
        await loop.create_server(protocol, sock=_listener(port + offset), backlog=_BACKLOG)
    for port, datagram in datagrams.items():
        await loop.create_datagram_endpoint(datagram, sock=_datagram_socket(port + offset))
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


def _listener(port: int) -> socket.socket:
    return socket.create_server(
        ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
    )


def _datagram_socket(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind(("::", port))
    return made


if __name__ == "__main__":
    asyncio.run(main())
