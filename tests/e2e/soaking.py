"""Random traffic through a session, each piece of which is answered rightly or fails clearly.

with traffic(laptop, Random(7), hosts) as flows:
    ...
assert flows.wrong == []
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random

import dns.asyncquery
import dns.exception
import dns.message

from lab import network
from tests.e2e.laptop import Laptop

CLIENTS = 12
ECHO, BULK = 7000, 7002
# Who connects while there is no link waits for it, as for any network.
CONNECT_SECONDS = 15.0
# Longer than a silent transport is kept: what was said on one must have been answered or reset.
HUNG_SECONDS = 45.0
END_SECONDS = HUNG_SECONDS + 15.0


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
    seeds = [random.random() for _ in range(CLIENTS)]

    async def everyone() -> None:
        async with asyncio.TaskGroup() as group:
            for seed in seeds:
                group.create_task(_client(Random(seed), hosts, flows, over))

    thread = threading.Thread(target=lambda: laptop.call(lambda: asyncio.run(everyone())))
    thread.start()
    try:
        yield flows
    finally:
        over.set()
        thread.join(END_SECONDS)
    assert not thread.is_alive(), "clients have not ended"


async def _client(random: Random, hosts: Hosts, flows: Flows, over: threading.Event) -> None:
    while not over.is_set():
        name, piece = random.choice(list(_PIECES.items()))
        try:
            async with asyncio.timeout(HUNG_SECONDS):
                await piece(random, hosts)
        except WrongAnswer as error:
            flows.wrong.append(f"{name}: {error}")
        except _Unreached:
            flows.failed[name] += 1
        except TimeoutError:
            flows.wrong.append(f"{name}: neither answered nor reset")
        except (OSError, EOFError, dns.exception.DNSException):
            flows.failed[name] += 1
            await asyncio.sleep(0.05)
        else:
            flows.right[name] += 1


class _Unreached(Exception):  # noqa: N818
    """No connection came about, as when the network is away."""


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


async def _request(_: Random, hosts: Hosts) -> None:
    """A short one."""
    reader, writer = await _connect(hosts.web, 80)
    with _closing(writer):
        writer.write(b"GET / HTTP/1.0\r\nHost: web\r\n\r\n")
        answer = await reader.read()
        # One that is cut off by a loss has been reset, which is an OSError.
        if b'"name": "web"' not in answer:
            raise WrongAnswer(repr(answer[:200]))


async def _conversation(random: Random, hosts: Hosts) -> None:
    """Both ways for some seconds, with a half-close at its end."""
    reader, writer = await _connect(hosts.sample, ECHO)
    with _closing(writer):
        said = 0
        for _ in range(random.randrange(1, 12)):
            words = random.randbytes(random.choice((10, 1000, 100_000)))
            writer.write(words)
            said += len(words)
            heard = await reader.readexactly(len(words))
            if heard != words:
                raise WrongAnswer(f"{len(words)} bytes came back as others")
            await asyncio.sleep(random.random())
        writer.write_eof()
        rest = await reader.read()
        if rest != b"%d bytes\n" % said:
            raise WrongAnswer(f"{rest[:100]!r} at the end of {said} bytes")


async def _download(random: Random, hosts: Hosts) -> None:
    """Some bulk, cut off by the client in the middle."""
    reader, writer = await _connect(hosts.sample, BULK)
    with _closing(writer):
        writer.write(b"d")
        left = random.randrange(1, 8_000_000)
        while left > 0:
            piece = await reader.read(65536)
            if not piece:
                raise WrongAnswer("an end in the middle of what has none")
            if any(piece[:16]):
                raise WrongAnswer("other bytes than were sent")
            left -= len(piece)
        if random.random() < 0.5:
            writer.transport.abort()


async def _upload(random: Random, hosts: Hosts) -> None:
    """Some bulk, counted at its end."""
    reader, writer = await _connect(hosts.sample, BULK)
    with _closing(writer):
        size = random.randrange(1, 3_000_000)
        writer.write(b"u" + bytes(size))
        writer.write_eof()
        reports = await reader.read()
        if int(reports[-20:] or b"0") != size:
            raise WrongAnswer(f"{reports[-20:]!r} of {size} bytes")


async def _stall(random: Random, hosts: Hosts) -> None:
    """Bulk that is asked for, and not read."""
    _, writer = await _connect(hosts.sample, BULK)
    with _closing(writer):
        writer.write(b"d")
        await asyncio.sleep(random.random() * 3)


async def _name(random: Random, _: Hosts) -> None:
    """A name of the cluster, or one that is not there."""
    name, there = random.choice(
        (("web.default.svc.cluster.local", True), ("nosuch.default.svc.cluster.local", False))
    )
    with suppress(dns.exception.Timeout):
        answer = await dns.asyncquery.udp(
            dns.message.make_query(name, "A"), network.DNS_V4, timeout=5, ignore_unexpected=True
        )
        # While there is no link, SERVFAIL says so.
        if answer.rcode() != 2 and bool(answer.answer) != there:
            raise WrongAnswer(f"{name}: {answer}")


_PIECES: dict[str, Callable[[Random, Hosts], Awaitable[None]]] = {
    "request": _request,
    "conversation": _conversation,
    "download": _download,
    "upload": _upload,
    "stall": _stall,
    "name": _name,
}
