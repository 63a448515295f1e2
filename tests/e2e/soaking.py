"""Random traffic through a session, each piece of which is answered rightly or fails clearly.

with traffic(laptop, Random(7), hosts) as flows:
    ...
assert flows.wrong == []
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import dns.asyncquery
import dns.exception
import dns.message

from lab import network
from tests.e2e.laptop import Laptop

CLIENTS = 12
ECHO, DATAGRAMS, BULK = 7000, 7001, 7002
# Each client has a UDP port, and so one flow at a time. Below those that the kernel gives away.
FIRST_UDP_PORT = 30000
ECHO_SECONDS = 1.0
# Who connects while there is no link waits for it, as for any network.
CONNECT_SECONDS = 15.0
# Longer than a silent transport is kept: what was said on one must have been answered or reset.
HUNG_SECONDS = 45.0
END_SECONDS = HUNG_SECONDS + 15.0

_ICMP_RATE_LIMIT = Path("/proc/sys/net/ipv4/icmp_ratelimit")


class WrongAnswer(Exception):  # noqa: N818
    """What came is not what was asked for."""


@dataclass
class Flows:
    """What became of them: how many of each kind were right or failed, and what must not be."""

    right: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Hosts:
    """Addresses of the services `web` and `sample`."""

    web: str
    sample: str


@contextmanager
def traffic(laptop: Laptop, random: Random, hosts: Hosts) -> Iterator[Flows]:
    """Clients on the laptop, one thing after another each, until this ends."""
    flows, over = Flows(), threading.Event()
    clients = [
        _Client(Random(random.random()), hosts, FIRST_UDP_PORT + number)
        for number in range(CLIENTS)
    ]

    async def everyone() -> None:
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(_go_on(client, flows, over))

    with ThreadPoolExecutor(max_workers=1) as thread:
        running = thread.submit(laptop.call, lambda: asyncio.run(everyone()))
        try:
            yield flows
        finally:
            over.set()
        running.result(END_SECONDS)


def hang_up(laptop: Laptop, hosts: Hosts) -> None:
    """End the clients' UDP flows, as an answer does that finds its port closed.

    Where :func:`outspoken` is not in force, the kernel lets only some of them know.
    """

    def inside() -> None:
        for number in range(CLIENTS):
            with suppress(OSError), _udp(_Client(Random(), hosts, FIRST_UDP_PORT + number)) as one:
                one.send(_datagram(number, 4))

    laptop.call(inside)


@contextmanager
def outspoken(laptop: Laptop) -> Iterator[None]:
    """Meanwhile the laptop's kernel says of every port that is closed, not of some, that it is."""
    before = laptop.call(_ICMP_RATE_LIMIT.read_text)
    laptop.call(lambda: _ICMP_RATE_LIMIT.write_text("0"))
    try:
        yield
    finally:
        laptop.call(lambda: _ICMP_RATE_LIMIT.write_text(before))


@dataclass
class _Client:
    """Somebody who asks; `said` is what of it was answered last."""

    random: Random
    hosts: Hosts
    udp_port: int
    said: str = ""
    limit: asyncio.Timeout | None = None

    def heard(self, said: str) -> None:
        """Something has come: from now on there is time again for the next."""
        self.said = said
        assert self.limit
        self.limit.reschedule(asyncio.get_running_loop().time() + HUNG_SECONDS)


async def _go_on(client: _Client, flows: Flows, over: threading.Event) -> None:
    while not over.is_set():
        name, piece = client.random.choice(list(PIECES.items()))
        began, client.said = time.monotonic(), "began"
        try:
            async with asyncio.timeout(HUNG_SECONDS) as client.limit:
                await piece(client)
        except WrongAnswer as error:
            flows.wrong.append(f"{name}: {error}")
        except _Unreached:
            flows.failed[name] += 1
        except TimeoutError:
            took = time.monotonic() - began
            what = f"{name} after {took:.0f} s, {client.said}"
            flows.wrong.append(f"{what}: neither answered nor reset for {HUNG_SECONDS} s")
        except (OSError, EOFError, dns.exception.DNSException):
            flows.failed[name] += 1
            await asyncio.sleep(0.05)
        else:
            flows.right[name] += 1


class _Unreached(Exception):  # noqa: N818
    """No connection came about, or no datagram came back, as when the network is away."""


@contextmanager
def _closing(writer: asyncio.StreamWriter) -> Iterator[None]:
    try:
        yield
    finally:
        writer.close()


async def _connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await asyncio.open_connection(host, port)
    except TimeoutError:
        raise _Unreached from None


async def _request(client: _Client) -> None:
    """A short one."""
    reader, writer = await _connect(client.hosts.web, 80)
    with _closing(writer):
        writer.write(b"GET / HTTP/1.0\r\nHost: web\r\n\r\n")
        answer = await reader.read()
        # One that is cut off by a loss has been reset, which is an OSError.
        if b'"name": "web"' not in answer:
            raise WrongAnswer(repr(answer[:200]))


async def _conversation(client: _Client) -> None:
    """Both ways for some seconds, with a half-close at its end."""
    random = client.random
    reader, writer = await _connect(client.hosts.sample, ECHO)
    with _closing(writer):
        said = 0
        client.heard(f"connected from {writer.get_extra_info('sockname')[1]}")
        for _ in range(random.randrange(1, 8)):
            words = random.randbytes(random.choice((10, 1000, 100_000)))
            writer.write(words)
            said += len(words)
            heard = await reader.readexactly(len(words))
            if heard != words:
                raise WrongAnswer(f"{len(words)} bytes came back as others")
            client.heard(f"{said} bytes echoed")
            await asyncio.sleep(random.random())
        writer.write_eof()
        rest = await reader.read()
        if rest != b"%d bytes\n" % said:
            raise WrongAnswer(f"{rest[:100]!r} at the end of {said} bytes")


async def _download(client: _Client) -> None:
    """Some bulk, cut off by the client in the middle."""
    reader, writer = await _connect(client.hosts.sample, BULK)
    with _closing(writer):
        writer.write(b"d")
        left = client.random.randrange(1, 8_000_000)
        while left > 0:
            piece = await reader.read(65536)
            if not piece:
                raise WrongAnswer("an end in the middle of what has none")
            if any(piece[:16]):
                raise WrongAnswer("other bytes than were sent")
            left -= len(piece)
            client.heard(f"{left} bytes to come")
        if client.random.random() < 0.5:
            writer.transport.abort()


async def _upload(client: _Client) -> None:
    """Some bulk, counted at its end."""
    reader, writer = await _connect(client.hosts.sample, BULK)
    with _closing(writer):
        size = client.random.randrange(1, 3_000_000)
        writer.write(b"u" + bytes(size))
        writer.write_eof()
        reports = await reader.read()
        if int(reports[-20:] or b"0") != size:
            raise WrongAnswer(f"{reports[-20:]!r} of {size} bytes")


async def _stall(client: _Client) -> None:
    """Bulk that is asked for, and not read."""
    _, writer = await _connect(client.hosts.sample, BULK)
    with _closing(writer):
        writer.write(b"d")
        await asyncio.sleep(client.random.random() * 3)


async def _datagrams(client: _Client) -> None:
    """Some that are echoed; any may be lost, but what comes is what was said."""
    random, echoes = client.random, 0
    with _udp(client) as program:
        for _ in range(random.randrange(1, 8)):
            program.send(_datagram(random.randrange(1 << 32), random.choice((4, 1000, 20_000))))
            echoes += await _hears_echo(program)
    if not echoes:
        raise _Unreached


@contextmanager
def _udp(client: _Client) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        program.setblocking(False)
        program.bind(("", client.udp_port))
        program.connect((client.hosts.sample, DATAGRAMS))
        yield program


async def _hears_echo(program: socket.socket) -> bool:
    """Whether anything comes: what was said last, or late what was said before."""
    try:
        async with asyncio.timeout(ECHO_SECONDS):
            heard = await asyncio.get_running_loop().sock_recv(program, 1 << 16)
    except TimeoutError:
        return False
    if heard != _datagram(int.from_bytes(heard[:4], "big"), len(heard)):
        raise WrongAnswer(f"{len(heard)} bytes that nobody has said")
    return True


def _datagram(number: int, size: int) -> bytes:
    """One that tells by itself whether it is whole."""
    return number.to_bytes(4, "big") + Random(number).randbytes(size - 4)


async def _name(client: _Client) -> None:
    """A name of the cluster, or one that is not there."""
    name, there = client.random.choice(
        (("web.default.svc.cluster.local", True), ("nosuch.default.svc.cluster.local", False))
    )
    with suppress(dns.exception.Timeout):
        answer = await dns.asyncquery.udp(
            dns.message.make_query(name, "A"), network.DNS_V4, timeout=5, ignore_unexpected=True
        )
        # While there is no link, SERVFAIL says so.
        if answer.rcode() != 2 and bool(answer.answer) != there:
            raise WrongAnswer(f"{name}: {answer}")


PIECES: dict[str, Callable[[_Client], Awaitable[None]]] = {
    "request": _request,
    "conversation": _conversation,
    "download": _download,
    "upload": _upload,
    "stall": _stall,
    "datagrams": _datagrams,
    "name": _name,
}
