"""Datagrams through a real agent in this process, to real sockets of this machine."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from tests.unit.link.agents import Cluster, linked
from towline.agent import association as agents_association
from towline.agent import errorqueue
from towline.link.association import Association
from towline.wire.frames import Kind, Reason

SECONDS = 20.0  # until a test that hangs fails
HOSTS = ("127.0.0.1", "::1")


class Heard:
    """An association, and what it tells."""

    def __init__(self, cluster: Cluster, association: Association, news: asyncio.Queue[object]):
        self.cluster = cluster
        self.association = association
        self.send = association.send
        self._news = news

    async def next(self) -> object:
        async with asyncio.timeout(SECONDS):
            return await self._news.get()

    def silent(self) -> bool:
        return self._news.empty()


@asynccontextmanager
async def associated(kind: Kind = Kind.UDP) -> AsyncIterator[Heard]:
    async with linked(transports=1) as (cluster, link, _):
        news: asyncio.Queue[object] = asyncio.Queue()
        association = Association(
            link,
            lambda *datagram: news.put_nowait(datagram),
            lambda *lost: news.put_nowait(lost),
            kind=kind,
            on_refused=lambda: news.put_nowait("refused"),
        )
        yield Heard(cluster, association, news)
        association.close()


@contextmanager
def peer(host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, int]]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.bind((host, 0))
        made.setblocking(False)
        yield made, made.getsockname()[1]


async def received(at: socket.socket, size: int = 65535) -> tuple[bytes, tuple[str, int]]:
    async with asyncio.timeout(SECONDS):
        data, address = await asyncio.get_running_loop().sock_recvfrom(at, size)
        return data, address[:2]


@pytest.mark.parametrize("host", HOSTS)
async def test_peers_see_one_port_and_whoever_answers_is_heard(host: str) -> None:
    async with associated() as ours:
        with peer(host) as (first, one), peer(host) as (second, two), peer(host) as (third, three):
            ours.send(b"a", host, one)
            ours.send(b"", host, two)
            data, agent = await received(first)
            assert (data, agent[0]) == (b"a", host)
            assert await received(second) == (b"", agent)
            for socket_, said in ((third, b"from elsewhere"), (second, b""), (first, b"x")):
                socket_.sendto(said, agent)
            got = {await ours.next() for _ in range(3)}
            assert got == {(b"from elsewhere", host, three), (b"", host, two), (b"x", host, one)}


@pytest.mark.parametrize(("host", "size"), [("127.0.0.1", 65507), ("::1", 65515)])
async def test_longest_datagrams_pass(host: str, size: int) -> None:
    async with associated() as ours:
        with peer(host) as (there, port):
            ours.send(b"x" * size, host, port)
            data, agent = await received(there)
            assert data == b"x" * size
            there.sendto(b"y" * size, agent)
            assert await ours.next() == (b"y" * size, host, port)


@pytest.mark.parametrize("host", HOSTS)
async def test_who_is_not_there_is_told_with_what_was_lost_and_others_go_on(host: str) -> None:
    async with associated() as ours:
        with peer(host) as (_, closed):
            pass
        with peer(host) as (there, port):
            ours.send(b"nobody hears", host, closed)
            assert await ours.next() == (Reason.REFUSED, b"nobody hears", host, closed)
            ours.send(b"again", host, closed)
            ours.send(b"heard", host, port)
            assert (await received(there))[0] == b"heard"
            assert await ours.next() == (Reason.REFUSED, b"again", host, closed)


async def test_without_an_error_queue_there_are_answers_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: socket.socket) -> None:
        raise OSError(errno.ENOPROTOOPT, "as in some sandboxes")

    monkeypatch.setattr(errorqueue, "enable", refuse)
    async with associated() as ours:
        with peer() as (_, closed):
            pass
        with peer() as (there, port):
            ours.send(b"nobody hears", "127.0.0.1", closed)
            ours.send(b"x", "127.0.0.1", port)
            _, agent = await received(there)
            there.sendto(b"y", agent)
            assert await ours.next() == (b"y", "127.0.0.1", port)


async def test_what_this_pod_may_not_send_is_told() -> None:
    async with associated() as ours:
        ours.send(b"x", "255.255.255.255", 9)
        assert await ours.next() == (Reason.PROHIBITED, b"x", "255.255.255.255", 9)


async def test_names_are_resolved_by_the_agent_and_answers_carry_the_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def getaddrinfo(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host != "web":
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", 0))]

    async with associated() as ours:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        with peer() as (there, port):
            for said in (b"1", b"2"):
                ours.send(said, "web", port)
            assert (await received(there))[0] == b"1"
            data, agent = await received(there)
            assert data == b"2"
            there.sendto(b"3", agent)
            assert await ours.next() == (b"3", "127.0.0.1", port)
            ours.send(b"x", "nobody", port)
            assert await ours.next() == (Reason.UNRESOLVED, b"x", "nobody", port)


async def test_names_beyond_a_number_are_forgotten_and_found_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    async def getaddrinfo(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(agents_association, "NAMES", 2)
    async with associated() as ours:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        with peer() as (there, port):
            for name in ("a", "a", "b", "c", "c", "a"):
                ours.send(name.encode(), name, port)
                assert (await received(there))[0] == name.encode()
        assert asked == ["a", "b", "c", "a"]


async def test_next_datagram_begins_anew_after_the_link_was_lost() -> None:
    async with associated() as ours:
        with peer() as (there, port):
            ours.send(b"before", "127.0.0.1", port)
            _, first = await received(there)
            await ours.cluster.lose()
            await asyncio.sleep(0)
            ours.send(b"lost", "127.0.0.1", port)
            await ours.cluster.start()
            data, second = b"", first
            async with asyncio.timeout(SECONDS):
                while not data:
                    ours.send(b"after", "127.0.0.1", port)
                    await asyncio.sleep(0.01)
                    try:
                        data, second = there.recvfrom(100)
                    except BlockingIOError:
                        continue
            there.sendto(b"answer", second)
            assert data == b"after"
            assert await ours.next() == (b"answer", "127.0.0.1", port)


async def test_closed_association_is_silent_and_its_socket_goes() -> None:
    async with associated() as ours:
        with peer() as (there, port):
            ours.send(b"x", "127.0.0.1", port)
            _, agent = await received(there)
            ours.association.close()
            ours.send(b"y", "127.0.0.1", port)
            async with asyncio.timeout(SECONDS):
                while not _is_free(agent):
                    await asyncio.sleep(0.01)
            assert ours.silent()


def _is_free(address: tuple[str, int]) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", address[1]))
        except OSError:
            return False
        return True


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EPROTONOSUPPORT])
async def test_agent_that_may_not_send_echoes_says_so(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(number, "no")

    async with associated(Kind.ECHO) as ours:
        monkeypatch.setattr(socket, "socket", refuse)
        ours.send(b"x", "127.0.0.1", 1)
        assert await ours.next() == "refused"
