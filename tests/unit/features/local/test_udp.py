"""Datagrams to an agent's port, delivered here by a session, or passed by to the original."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.unit.relay.links import Recorder
from towline.agent import udp
from towline.agent.intercept import Intercepted
from towline.agent.server import Agent
from towline.features.local import delivery, udpdelivery
from towline.features.local.delivery import Delivery
from towline.relay.peer import Peer
from towline.relay.stream import Stream
from towline.relay.udp import ConnectedUdp
from towline.wire.frames import Kind
from towline.wire.mux import Mux
from towline.wire.target import Claim, Port, Protocol, Target

SECONDS = 20.0  # until a test that hangs fails
LONGEST = 65507


class Origin(asyncio.DatagramProtocol):
    """A server that answers with its name and, in capitals, what it got."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.port = 0
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.clients: set[object] = set()
        self.silent = False

    async def start(self, host: str = "127.0.0.1") -> None:
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((host, self.port))
        self.port = made.getsockname()[1]
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=made)

    def close(self) -> None:
        self.transport.close()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.clients.add(addr)
        self.heard.put_nowait(data)
        if not self.silent:
            self.transport.sendto((self.name + data.upper())[:LONGEST], addr)


class Client:
    """A socket of a client."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.socket: ConnectedUdp

    async def ask(self, words: bytes) -> bytes:
        self.socket.send(words)
        return await self.heard.get()


@dataclass
class Ground:
    """An agent with one port, the original behind it, and a program that a session serves."""

    agent: Agent
    link: int
    port: Port
    original: Origin
    program: Origin
    group: asyncio.TaskGroup
    stack: AsyncExitStack
    delivery: Delivery = field(init=False)
    """The last session's."""

    async def session(self, *, copy: bool = False) -> Peer:
        """A session that has claimed the port."""
        delivery = self.delivery = Delivery(
            {self.port: Target("localhost", self.program.port)}, self.group, copy=copy
        )
        _, peer = await asyncio.get_running_loop().create_connection(
            lambda: Peer(Mux(client=True), on_opened=delivery.opened), "127.0.0.1", self.link
        )
        await peer.ready()
        delivery.claim(peer)
        await delivery.claimed()
        return peer

    async def client(self, host: str = "127.0.0.1") -> Client:
        client = Client()
        client.socket = await ConnectedUdp.open(
            host, self.port.number, client.heard.put_nowait, lambda _: None
        )
        self.stack.callback(client.socket.close)
        return client

    async def ask(self, words: bytes = b"hello") -> bytes:
        """What a new client is told."""
        return await (await self.client()).ask(words)


@asynccontextmanager
async def ground(*, has_original: bool = True) -> AsyncIterator[Ground]:
    original, program = Origin(b"original:"), Origin(b"program:")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as free:
        free.bind(("::", 0))
        port = Port(free.getsockname()[1], Protocol.UDP)
    async with asyncio.timeout(SECONDS), AsyncExitStack() as stack:
        for origin in (original, program):
            await origin.start()
            stack.callback(origin.close)
        target = Target("127.0.0.1", original.port) if has_original else None
        agent = Agent(600, [Intercepted(port, target)])
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.push_async_callback(agent.close)
        await agent.interception.start()
        server = await asyncio.get_running_loop().create_server(agent.accept, "127.0.0.1", 0)
        stack.callback(server.close)
        link = server.sockets[0].getsockname()[1]
        yield Ground(agent, link, port, original, program, group, stack)


async def answered(client: Client, words: bytes) -> None:
    """Say it until an answer comes: some may go to what is lost a moment later."""
    while client.heard.empty():
        client.socket.send(words)
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("claimed", [False, True])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1"])
async def test_answers_come_from_the_address_that_was_asked(address: str, claimed: bool) -> None:
    async with ground() as here:
        if claimed:
            await here.session()
        client = await here.client(address)
        name = b"program:" if claimed else b"original:"
        assert await client.ask(b"hello") == name + b"HELLO"


@pytest.mark.parametrize("claimed", [False, True])
async def test_datagrams_of_all_sizes_pass(claimed: bool) -> None:
    async with ground() as here:
        if claimed:
            await here.session()
        origin = here.program if claimed else here.original
        client = await here.client()
        for size in (0, 1, 1400, LONGEST):
            answer = await client.ask(b"x" * size)
            assert answer == (origin.name + b"X" * size)[:LONGEST]
        assert len(origin.clients) == 1
        assert await here.ask() == origin.name + b"HELLO"
        assert len(origin.clients) == 2


async def test_program_may_listen_on_either_family() -> None:
    async with ground() as here:
        here.program.close()
        await here.program.start("::1")
        await here.session()
        assert await here.ask() == b"program:HELLO"


async def test_session_that_is_lost_loses_its_clients_to_the_original() -> None:
    async with ground() as here:
        peer = await here.session()
        client = await here.client()
        assert await client.ask(b"a") == b"program:A"
        peer.abort()
        await answered(client, b"b")
        assert await client.heard.get() == b"original:B"


async def test_session_that_says_goodbye_leaves_its_clients_to_the_original() -> None:
    async with ground() as here:
        peer = await here.session()
        client = await here.client()
        assert await client.ask(b"a") == b"program:A"
        peer.go_away("its transport is closed later")
        await answered(client, b"b")
        assert await client.heard.get() == b"original:B"
        peer.abort()


async def test_session_finishes_when_its_clients_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(udpdelivery, "ANSWER_SECONDS", SECONDS)
    monkeypatch.setattr(delivery, "FINISH_SECONDS", SECONDS)
    async with ground() as here:
        peer = await here.session()
        done, waiting = await here.client(), await here.client()
        assert await done.ask(b"a") == b"program:A"
        here.program.silent, before = True, set(here.program.clients)
        waiting.socket.send(b"b")
        while await here.program.heard.get() != b"b":
            pass
        finishing = asyncio.ensure_future(here.delivery.finish())
        while len(peer.streams) > 1:
            await asyncio.sleep(0.005)
        await answered(done, b"c")
        assert await done.heard.get() == b"original:C"
        assert not finishing.done()
        (client,) = here.program.clients - before
        here.program.transport.sendto(b"late", client)
        assert await waiting.heard.get() == b"late"
        await finishing
        await answered(waiting, b"d")
        assert await waiting.heard.get() == b"original:D"


async def test_another_transport_goes_on_where_one_is_lost() -> None:
    async with ground() as here:
        peers = [await here.session(), await here.session()]
        client = await here.client()
        assert await client.ask(b"a") == b"program:A"
        (busy,) = (peer for peer in peers if len(peer.streams) > 1)
        busy.abort()
        (other,) = (peer for peer in peers if peer is not busy)
        await answered(client, b"b")
        assert await client.heard.get() == b"program:B"
        assert len(other.streams) > 1


async def test_original_gets_all_that_a_program_which_does_not_listen_did_not_take() -> None:
    async with ground() as here:
        here.program.close()
        await here.session()
        client = await here.client()
        for number in range(5):
            client.socket.send(b"%d" % number)
        assert [await client.heard.get() for _ in range(5)] == [
            b"original:%d" % number for number in range(5)
        ]
        await here.program.start()
        assert await client.ask(b"a") == b"original:A"  # it stays where it is
        assert await here.ask() == b"program:HELLO"


async def test_program_that_is_gone_loses_its_clients_to_the_original() -> None:
    async with ground() as here:
        await here.session()
        client = await here.client()
        assert await client.ask(b"a") == b"program:A"
        here.program.close()
        await asyncio.sleep(0)  # the transport closes in the loop's next turn
        await answered(client, b"b")
        assert await client.heard.get() == b"original:B"


async def test_without_claim_and_original_nothing_is_answered_until_there_is_one() -> None:
    async with ground(has_original=False) as here:
        client = await here.client()
        client.socket.send(b"lost")
        while not here.agent.interception.underway._last_came:
            await asyncio.sleep(0.005)
        await here.session()
        assert await client.ask(b"a") == b"program:A"


async def test_session_that_does_not_answer_loses_its_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(udp, "ACCEPT_SECONDS", 0.1)

    def ignore(stream: Stream, *_: object) -> None:
        Recorder(stream)

    async with ground() as here:
        _, peer = await asyncio.get_running_loop().create_connection(
            lambda: Peer(Mux(client=True), on_opened=ignore), "127.0.0.1", here.link
        )
        claim = Recorder(peer.open(Kind.CLAIM, Claim(here.port).encode()))
        while claim.told != ["accepted"]:
            await asyncio.sleep(0.005)
        assert await here.ask() == b"original:HELLO"
        peer.abort()


async def test_program_that_never_answers_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udpdelivery, "REFUSAL_SECONDS", 0.1)
    monkeypatch.setattr(udp, "ACCEPT_SECONDS", 5.0)
    async with ground() as here:
        here.program.silent = True
        await here.session()
        client = await here.client()
        client.socket.send(b"a")
        assert await here.program.heard.get() == b"a"
        underway = here.agent.interception.underway
        came = 0.0
        while came != underway._last_came:  # as long as it is not known who gets them
            came = underway._last_came
            client.socket.send(b"b")
            assert await here.program.heard.get() == b"b"
            await asyncio.sleep(0.02)
        assert here.original.heard.empty()


async def test_idle_clients_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "IDLE_SECONDS", 0.1)
    async with ground() as here:
        peer = await here.session()
        client = await here.client()
        assert await client.ask(b"a") == b"program:A"
        while len(peer.streams) > 1:
            await asyncio.sleep(0.005)
        assert await client.ask(b"b") == b"program:B"
        assert len(here.program.clients) == 2


async def test_client_that_is_idle_for_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "FLOWS", 2)
    async with ground() as here:
        await here.session()
        one, two, three = [await here.client() for _ in range(3)]
        for client in (one, two, one, three, one):
            await client.ask(b"a")
        assert len(here.program.clients) == 3
        await two.ask(b"a")
        assert len(here.program.clients) == 4


async def test_copies_come_to_the_program_and_its_answers_are_dropped() -> None:
    async with ground() as here:
        await here.session(copy=True)
        client = await here.client()
        for words in (b"a", b"", b"x" * LONGEST):
            assert await client.ask(words) == (b"original:" + words.upper())[:LONGEST]
            assert await here.program.heard.get() == words
        assert client.heard.empty()
        assert len(here.program.clients) == 1


async def test_copies_come_as_soon_as_a_program_listens() -> None:
    async with ground() as here:
        here.program.close()
        await here.session(copy=True)
        client = await here.client()
        assert await client.ask(b"a") == b"original:A"
        await here.program.start()
        while here.program.heard.empty():
            assert await client.ask(b"b") == b"original:B"
            await asyncio.sleep(0.005)
        assert client.heard.empty()


async def test_what_a_session_takes_is_not_copied() -> None:
    async with ground() as here:
        await here.session(copy=True)
        await here.session()
        assert await here.ask() == b"program:HELLO"
        assert len(here.program.clients) == 1
        assert here.original.heard.empty()
