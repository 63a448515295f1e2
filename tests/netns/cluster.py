"""A session under test: real redirect, real intercept, and a cluster that is a few rules."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from contextlib import asynccontextmanager

from towline.redirect.control import Redirect
from towline.redirect.errors import DialError, Reason
from towline.redirect.intercept import Intercept

RANGES = [ipaddress.ip_network("10.96.0.0/16"), ipaddress.ip_network("fd00:10:96::/112")]
IPV4, IPV6 = "10.96.0.10", "fd00:10:96::10"
HOSTS = [IPV4, IPV6]

ACCEPTING, REFUSING, NO_HOST, NO_NET, SILENT, NO_LINK = 80, 81, 82, 83, 84, 85
_FAILURES = {
    REFUSING: Reason.REFUSED,
    NO_HOST: Reason.HOST_UNREACHABLE,
    NO_NET: Reason.NET_UNREACHABLE,
    SILENT: Reason.TIMED_OUT,
    NO_LINK: Reason.LINK_LOST,
}


class Stream:
    """What a dial gives in these tests; `banner` is what its destination says first."""

    def __init__(self, banner):
        self.banner = banner
        self.is_aborted = False

    def abort(self):
        self.is_aborted = True


class Cluster:
    """Ports above `ACCEPTING` fail each in its way; the others accept.

    Every connection is answered with `name`, `dialled` or `known`, and its original
    destination, then echoed. `dials` and `accepted` list what came, `failing` overrules ports.
    """

    def __init__(self, name, redirect, group):
        self.name = name
        self.redirect = redirect
        self.group = group
        self.dials = []
        self.accepted = []
        self.streams = []
        self.failing = dict(_FAILURES)
        self.delay = None  # awaited before each dial's outcome
        self.intercept = None

    async def dial(self, address, port):
        self.dials.append((str(address), port))
        if self.delay:
            await self.delay(address, port)
        if reason := self.failing.get(port):
            raise DialError(reason)
        self.streams.append(Stream(f"{self.name} dialled"))
        return self.streams[-1]

    def accept(self, connection, address, port, stream):
        self.accepted.append((str(address), port, stream is not None))
        known = stream.banner if stream else f"{self.name} known"
        self.group.create_task(_serve(connection, f"{known} {address} {port}\n".encode()))


async def _serve(connection, banner):
    reader, writer = await asyncio.open_connection(sock=connection)
    writer.write(banner)
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def connected(name="cluster", ranges=RANGES):
    """Run a session; gives its cluster."""
    async with Redirect.open() as redirect, asyncio.TaskGroup() as group:
        cluster = Cluster(name, redirect, group)
        opening = Intercept.open(redirect, group, cluster.dial, cluster.accept, lambda _: False)
        async with opening as intercept:
            cluster.intercept = intercept
            await redirect.add_routes(ranges)
            yield cluster


async def connect(host, port, seconds=10, source_port=0):
    """Connect as a program would; gives the connected socket, or raises what connect() says."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    client = socket.socket(family)
    client.setblocking(False)
    try:
        if source_port:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("", source_port))
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(client, (host, port))
            while (number := _late_error(client)) is None:
                await asyncio.sleep(0)
        if number:
            raise OSError(number, os.strerror(number))
    except BaseException:
        client.close()
        raise
    return client


def _late_error(client):
    """The number of an error that the kernel notes a moment after it has woken us; None till then.

    So it does for ICMP errors (Linux 6.18), which only a connect() that blocks never misses.
    """
    try:
        client.getpeername()
    except OSError:
        return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or None
    return 0


async def refusal(host, port, seconds=10):
    """Connect, and give the number of the error that connect() says."""
    try:
        client = await connect(host, port, seconds)
    except OSError as error:
        return error.errno
    client.close()
    return 0


async def ask(host, port, seconds=10):
    """Connect, and give the first line that comes."""
    with await connect(host, port, seconds) as client:
        return await first_line(client, seconds)


async def first_line(client, seconds=10):
    async with asyncio.timeout(seconds):
        data = b""
        while not data.endswith(b"\n"):
            piece = await asyncio.get_running_loop().sock_recv(client, 1000)
            if not piece:
                break
            data += piece
    return data.decode().strip()
