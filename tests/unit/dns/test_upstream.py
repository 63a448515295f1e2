"""The laptop's own nameservers: order, failures, and queries that stay as they are."""

import asyncio
import contextlib
import socket

import pytest

from tests.unit.dns.fakeserver import FakeNameserver
from towline.dns.resolvconf import ResolvConf
from towline.dns.upstream import MAX_SOCKETS, Upstream, UpstreamError
from towline.wire.dns import Message, Name, Rcode, Record, Type, query, reply

DATA = query(Name.of("example.com"), Type.A).encode()
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def says(last_byte):
    """Return an answerer that gives 192.0.2.`last_byte`."""

    def answer(data, tcp):
        asked = Message.parse(data)
        address = Record(asked.questions[0].name, Type.A, 1, 5, bytes([192, 0, 2, last_byte]))
        return [reply(asked, answers=(address,)).encode()]

    return answer


def fails(rcode):
    return lambda data, tcp: [reply(Message.parse(data), rcode).encode()]


def silent(data, tcp):
    return []


@contextlib.asynccontextmanager
async def nameservers(*answerers, timeout=0.06, **options):
    """Run one server for each answerer (None: nothing listens), and an Upstream of them."""
    async with contextlib.AsyncExitStack() as stack:
        servers, port = [], 0
        for host, answer in zip(HOSTS, answerers, strict=False):
            if answer is not None:
                server = FakeNameserver(answer, host, port)
                servers.append(await stack.enter_async_context(server))
                port = server.port
        conf = ResolvConf(HOSTS[: len(answerers)], timeout=timeout, **options)
        yield Upstream(lambda: conf, port=port, deadline=2.0), servers


def last_byte(data):
    return Message.parse(data).answers[0].rdata[-1]


@pytest.mark.parametrize("tcp", [False, True])
async def test_first_nameserver_is_asked_as_the_client_asked(tcp):
    async with nameservers(says(1), says(2), timeout=60) as (upstream, servers):
        assert await upstream.ask(DATA, tcp) == says(1)(DATA, tcp)[0]
        assert servers[0].received == [(DATA, tcp)]
        assert servers[1].received == []


@pytest.mark.parametrize("tcp", [False, True])
async def test_next_nameserver_is_asked_at_once_when_one_is_not_there(tcp):
    async with nameservers(says(1), None, timeout=60, rotate=True) as (upstream, _):
        await upstream.ask(DATA, tcp)
        assert last_byte(await upstream.ask(DATA, tcp)) == 1


@pytest.mark.parametrize("tcp", [False, True])
async def test_next_nameserver_is_asked_when_one_says_nothing(tcp):
    async with nameservers(silent, silent, says(3)) as (upstream, _):
        assert last_byte(await upstream.ask(DATA, tcp)) == 3


@pytest.mark.parametrize("rcode", [Rcode.SERVFAIL, Rcode.REFUSED, Rcode.NOTIMP])
async def test_next_nameserver_is_asked_at_once_when_one_fails(rcode):
    async with nameservers(fails(rcode), says(2), timeout=60) as (upstream, _):
        assert last_byte(await upstream.ask(DATA, False)) == 2


async def test_denial_is_an_answer():
    async with nameservers(fails(Rcode.NXDOMAIN), says(2), timeout=60) as (upstream, _):
        assert Message.parse(await upstream.ask(DATA, False)).rcode == Rcode.NXDOMAIN


async def test_late_answer_of_the_first_nameserver_counts():
    async with nameservers(silent, silent) as (upstream, servers):
        servers[1].answer = lambda data, tcp: servers[0].send(says(1)(data, tcp)[0])

        assert last_byte(await upstream.ask(DATA, False)) == 1


async def test_failure_is_returned_when_all_nameservers_fail():
    servers = fails(Rcode.SERVFAIL), fails(Rcode.REFUSED)
    async with nameservers(*servers, timeout=60) as (upstream, _):
        assert Message.parse(await upstream.ask(DATA, False)).rcode == Rcode.SERVFAIL


async def test_failure_is_not_held_back_by_a_nameserver_that_says_nothing():
    async with nameservers(fails(Rcode.SERVFAIL), silent) as (upstream, _):
        upstream_reply = await asyncio.wait_for(upstream.ask(DATA, False), 1.5)

        assert Message.parse(upstream_reply).rcode == Rcode.SERVFAIL


async def test_no_reply_at_all_is_an_error_that_names_the_nameservers():
    conf = ResolvConf(("127.0.0.1", "127.0.0.2"), timeout=0.02)
    async with FakeNameserver(silent) as server:
        upstream = Upstream(lambda: conf, port=server.port, deadline=0.05)

        with pytest.raises(UpstreamError, match=r"127\.0\.0\.1, 127\.0\.0\.2"):
            await upstream.ask(DATA, False)


async def test_nameservers_take_turns_if_so_configured():
    async with nameservers(says(1), says(2), timeout=60, rotate=True) as (upstream, _):
        replies = [last_byte(await upstream.ask(DATA, False)) for _ in range(4)]

    assert replies == [1, 2, 1, 2]


async def test_configuration_is_looked_at_for_every_query():
    async with nameservers(says(1), says(2)) as (_, servers):
        hosts = iter(HOSTS)
        upstream = Upstream(lambda: ResolvConf((next(hosts),)), port=servers[0].port)

        assert last_byte(await upstream.ask(DATA, False)) == 1
        assert last_byte(await upstream.ask(DATA, False)) == 2


async def test_burst_of_queries_uses_a_bounded_number_of_sockets():
    open_now, most = set(), 0

    async def factory(family, kind):
        nonlocal most
        open_now.difference_update({sock for sock in open_now if sock.fileno() == -1})
        sock = socket.socket(family, kind)
        open_now.add(sock)
        most = max(most, len(open_now))
        return sock

    async with FakeNameserver(says(1)) as server:
        upstream = Upstream(ResolvConf, factory=factory, port=server.port)
        replies = await asyncio.gather(*(upstream.ask(DATA, False) for _ in range(400)))

    assert {last_byte(data) for data in replies} == {1}
    assert most == MAX_SOCKETS


async def test_sockets_are_closed_however_the_query_ends():
    made = []

    async def factory(family, kind):
        made.append(socket.socket(family, kind))
        return made[-1]

    asked = asyncio.Event()
    async with FakeNameserver(lambda data, tcp: asked.set()) as server:
        upstream = Upstream(ResolvConf, factory=factory, port=server.port)
        task = asyncio.create_task(upstream.ask(DATA, False))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert [sock.fileno() for sock in made] == [-1]
