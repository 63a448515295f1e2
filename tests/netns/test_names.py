"""Lookups on the real kernel while a session comes and goes: none of them fails for that."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import AsyncExitStack, asynccontextmanager

import dns.exception
import dns.message
import dns.query
import pytest

from tests.netns import machine
from tests.unit.dns.fakedns import POD_RESOLV_CONF, FakeCluster, FakeUpstream
from towline.dns.policy import ClusterNames
from towline.dns.resolvconf import ResolvConfFile
from towline.dns.server import Listeners, Server
from towline.features.uplink.leads import Leads
from towline.features.uplink.named import Named
from towline.features.uplink.names import Names, Nameservers
from towline.redirect.control import Redirect

pytestmark = pytest.mark.usefixtures("traceless")

WORLD = "203.0.113.53"
SESSIONS = 40
LOOKUPS_A_SESSION = 20


@pytest.fixture
async def world(_namespace):
    """The nameserver of this machine; other hosts than example.com are not known to anybody."""
    machine.run(f"ip address add {WORLD}/32 dev lo")
    async with asyncio.TaskGroup() as group:
        zone = FakeUpstream("example.com A 192.0.2.1")
        server = Server(_listen(WORLD), zone.ask, group.create_task)
        await server.start()
        yield
        server.close()
    machine.run(f"ip address del {WORLD}/32 dev lo")


@pytest.fixture
def conf(tmp_path):
    made = tmp_path / "resolv.conf"
    made.write_text(f"nameserver {WORLD}\n")
    return made


def _listen(host):
    udp, tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
    for each in (udp, tcp):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.setblocking(False)
        each.bind((host, 53))
    tcp.listen(100)
    return Listeners(53, (udp,), (tcp,))


class _Nameservers(Nameservers):
    def __init__(self, path):
        super().__init__()
        self.conf = ResolvConfFile(path)
        self._all = [self.conf]


class _Names(Names):
    async def _ask_cluster(self, message):
        await asyncio.sleep(0.002)  # so that some are always under way
        return await FakeCluster().answer(message)


@asynccontextmanager
async def session(conf):
    async with Redirect.open() as redirect:
        leads = Leads(redirect, Named())
        names = _Names(None, redirect, leads, _Nameservers(conf), lambda _: None)
        async with names.serve(ClusterNames.of_pod(POD_RESOLV_CONF, "default")):
            yield names


class Asking:
    """A program that asks without end, by UDP or TCP, each time through a socket of its own."""

    def __init__(self, exchange):
        self.failures = []
        self._ended = threading.Event()
        self._exchange = exchange
        self._thread = threading.Thread(target=self._ask)

    async def __aenter__(self):
        self._thread.start()
        return self

    async def __aexit__(self, *_):
        self._ended.set()
        await asyncio.to_thread(self._thread.join)  # who answers it is in this loop

    def _ask(self):
        while not self._ended.is_set():
            query = dns.message.make_query("example.com", "A")
            try:
                answer = self._exchange(query, WORLD, timeout=4)
                if str(answer.answer[0][0]) != "192.0.2.1":
                    self.failures.append(answer)
            except (OSError, EOFError, dns.exception.DNSException, IndexError) as error:
                self.failures.append(error)


async def test_no_lookup_fails_when_sessions_begin_and_end(world, conf):
    ways = dns.query.udp, dns.query.udp, dns.query.tcp
    async with AsyncExitStack() as stack:
        programs = [await stack.enter_async_context(Asking(way)) for way in ways]
        for _ in range(SESSIONS):
            async with session(conf) as names, asyncio.timeout(30):
                while names.status()["lookups"] < LOOKUPS_A_SESSION:
                    await asyncio.sleep(0.001)
    assert [each.failures for each in programs] == [[], [], []]


async def test_connection_from_before_a_session_goes_on(world, conf):
    reader, writer = await asyncio.open_connection(WORLD, 53)
    async with session(conf):
        query = dns.message.make_query("example.com", "A").to_wire()
        writer.write(len(query).to_bytes(2, "big") + query)
        async with asyncio.timeout(5):
            length = int.from_bytes(await reader.readexactly(2), "big")
            reply = dns.message.from_wire(await reader.readexactly(length))
    assert str(reply.answer[0][0]) == "192.0.2.1"
    writer.close()
