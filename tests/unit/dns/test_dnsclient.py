"""One question to one nameserver over real sockets."""

import asyncio
import socket

import pytest

from tests.unit.dns.fakeserver import FakeNameserver
from towline.relay import dnsclient
from towline.relay.dnsclient import answers, exchange, exchange_tcp, exchange_udp
from towline.wire.dns import (
    TC,
    DnsError,
    Message,
    Name,
    Question,
    Rcode,
    Record,
    Type,
    formerr,
    query,
    reply,
)

QUERY = query(Name.of("Web.example"), Type.A)
DATA = QUERY.encode()


def good(data, count=1):
    asked = Message.parse(data)
    owner = asked.questions[0].name
    records = tuple(Record(owner, Type.A, 1, 5, bytes([192, 0, 2, n])) for n in range(count))
    return reply(asked, answers=records).encode()


def truncated(data):
    return (Message.parse(good(data, 0)).encode()[:2]) + bytes([0x80 | TC >> 8, 0]) + data[4:]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("ask", [exchange, exchange_udp, exchange_tcp])
async def test_reply_comes_as_the_server_sent_it(host, ask):
    async with FakeNameserver(lambda data, _: [good(data)], host) as server:
        assert await ask(DATA, (host, server.port), timeout=5) == good(DATA)
        assert server.received == [(DATA, ask is exchange_tcp)]


async def test_truncated_reply_is_asked_again_by_tcp():
    async with FakeNameserver(
        lambda data, tcp: [good(data, 200) if tcp else truncated(data)]
    ) as server:
        assert await exchange(DATA, ("127.0.0.1", server.port), timeout=5) == good(DATA, 200)
        assert await exchange_udp(DATA, ("127.0.0.1", server.port), timeout=5) == truncated(DATA)


async def test_truncated_reply_is_better_than_none():
    async with FakeNameserver(lambda data, tcp: [] if tcp else [truncated(data)]) as server:
        assert await exchange(DATA, ("127.0.0.1", server.port), timeout=5) == truncated(DATA)


async def test_replies_to_other_questions_are_passed_over():
    other = Message(QUERY.id, questions=(Question(Name.of("evil.example"), Type.A),)).encode()
    forged = [
        b"junk",
        good(bytes([DATA[0] ^ 1]) + DATA[1:]),
        good(other),
        DATA,
        reply(Message(QUERY.id)).encode(),
    ]
    for ask in (exchange_udp, exchange_tcp):
        async with FakeNameserver(lambda data, _: [*forged, good(data)]) as server:
            assert await ask(DATA, ("127.0.0.1", server.port), timeout=5) == good(DATA)


async def test_replies_from_other_addresses_are_not_received():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.2", 0))

        def answer(data, _):
            stranger.sendto(good(data, 2), server.sources[-1])
            return [good(data)]

        async with FakeNameserver(answer) as server:
            assert await exchange(DATA, ("127.0.0.1", server.port), timeout=5) == good(DATA)


async def test_each_question_has_a_port_of_its_own():
    async with FakeNameserver(lambda data, _: [good(data)]) as server:
        for _ in range(8):
            await exchange(DATA, ("127.0.0.1", server.port), timeout=5)

        assert len(set(server.sources)) > 1


async def test_error_without_its_question_is_a_reply():
    async with FakeNameserver(lambda data, _: [formerr(data).encode()]) as server:
        data = await exchange(DATA, ("127.0.0.1", server.port), timeout=5)

        assert Message.parse(data).rcode == Rcode.FORMERR


async def test_lost_datagram_is_sent_again(monkeypatch):
    monkeypatch.setattr(dnsclient, "RESEND_SECONDS", 0.02)
    async with FakeNameserver(
        lambda data, _: [good(data)] if len(server.received) > 2 else []
    ) as server:
        assert await exchange(DATA, ("127.0.0.1", server.port), timeout=5) == good(DATA)


@pytest.mark.parametrize("ask", [exchange_udp, exchange_tcp])
async def test_server_that_says_nothing_times_out(ask):
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    with silent, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", port))

        with pytest.raises(asyncio.TimeoutError):
            await ask(DATA, ("127.0.0.1", port), timeout=0.05)


@pytest.mark.parametrize("ask", [exchange_udp, exchange_tcp])
async def test_server_that_is_not_there_is_an_error_at_once(ask):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

        with pytest.raises(ConnectionRefusedError):
            await ask(DATA, ("127.0.0.1", port), timeout=60)


async def test_connection_that_is_closed_early_is_an_error():
    async with FakeNameserver(lambda data, _: []) as server:
        with pytest.raises(EOFError):
            await exchange_tcp(DATA, ("127.0.0.1", server.port), timeout=5)


@pytest.mark.parametrize("ask", [exchange, exchange_udp, exchange_tcp])
@pytest.mark.parametrize("junk", [b"", b"short", DATA[:-14]], ids=["empty", "short", "cut"])
async def test_what_is_no_query_is_not_sent(ask, junk):
    async with FakeNameserver(lambda data, _: [good(data)]) as server:
        with pytest.raises(DnsError):
            await ask(junk, ("127.0.0.1", server.port), timeout=5)

        assert server.received == []


class RecordingSocket(socket.socket):
    """Takes note of where it is connected to."""

    connected_to = None

    def connect(self, address):
        self.connected_to = address
        raise OSError("enough seen")


async def test_socket_comes_from_the_factory_and_knows_the_zone():
    made = []

    async def factory(family, kind):
        made.append(RecordingSocket(family, kind))
        return made[-1]

    with pytest.raises(OSError, match="enough"):
        await exchange(DATA, ("fe80::1%lo", 53), timeout=5, factory=factory)

    assert (made[0].family, made[0].type) == (socket.AF_INET6, socket.SOCK_DGRAM)
    assert made[0].connected_to == ("fe80::1", 53, 0, socket.if_nametoindex("lo"))
    assert made[0].fileno() == -1


async def test_name_instead_of_an_address_is_refused():
    with pytest.raises(OSError, match=r"not known|not supported"):
        await exchange(DATA, ("localhost", 53), timeout=5)


@pytest.mark.parametrize("ask", [exchange_udp, exchange_tcp])
async def test_cancelled_question_closes_its_socket(ask):
    made = []

    async def factory(family, kind):
        made.append(socket.socket(family, kind))
        return made[-1]

    received = asyncio.Event()
    async with FakeNameserver(lambda data, _: received.set()) as server:
        task = asyncio.create_task(
            ask(DATA, ("127.0.0.1", server.port), timeout=60, factory=factory)
        )
        await received.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert made[0].fileno() == -1


def test_reply_is_matched_without_case_in_the_question():
    asked = Message.parse(DATA)
    lower = asked.asking(Name.of("web.example"))

    assert answers(reply(lower).encode(), DATA)
