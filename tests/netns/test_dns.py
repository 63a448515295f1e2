"""Lookups: only those to the named nameservers are captured, and none is captured twice."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address

import pytest

from tests.netns import cluster, machine, nameserver
from tests.netns.cluster import ACCEPTING, IPV4
from tests.netns.nameserver import named, query
from towline.errors import RedirectError
from towline.redirect.control import Redirect

pytestmark = pytest.mark.usefixtures("traceless")

STUB, LAN4, LAN6, OTHER = "127.0.0.53", "203.0.113.53", "fd99::53", "203.0.113.54"
KINDS = [socket.SOCK_DGRAM, socket.SOCK_STREAM]
LOOPBACK = ["127.0.0.1", "::1"]


@pytest.fixture
async def real(_namespace):
    """The nameservers of this machine, as yet uncaptured."""
    addresses = [(LAN4, 32), (LAN6, 128), (OTHER, 32)]
    for address, length in addresses:
        machine.run(f"ip address add {address}/{length} dev lo nodad")
    async with nameserver.serving(named("real"), [STUB, LAN4, LAN6, OTHER], 53):
        yield
    for address, length in addresses:
        machine.run(f"ip address del {address}/{length} dev lo")


@asynccontextmanager
async def capturing(name, nameservers=(STUB, LAN4, LAN6)):
    """A session whose resolver says its name, or, asked by `chain`, asks its own upstream."""
    async with Redirect.open() as redirect:

        async def answer(text, kind):
            host = nameservers[0]
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            upstream = await redirect.upstream_socket(family, kind)
            return f"{name} > {await query(host, kind, upstream)}".encode()

        async with nameserver.serving(answer, LOOPBACK) as port:
            await redirect.capture_dns([ip_address(each) for each in nameservers], port)
            yield redirect


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("host", [STUB, LAN4, LAN6])
async def test_lookup_goes_to_the_resolver_and_its_own_upstream(real, host, kind):
    assert await query(host, kind) == "real"
    async with capturing("session", [host]):
        assert await query(host, kind) == "session > real"
    assert await query(host, kind) == "real"


@pytest.mark.parametrize("kind", KINDS)
async def test_lookup_at_another_nameserver_is_left_alone(real, kind):
    async with capturing("session"):
        assert await query(OTHER, kind) == "real"


async def test_capture_is_replaced_by_the_next(real):
    async with (
        capturing("session") as redirect,
        nameserver.serving(named("next"), LOOPBACK) as port,
    ):
        await redirect.capture_dns([ip_address(OTHER)], port)
        assert await query(OTHER) == "next"
        assert await query(LAN4) == "real"
        await redirect.capture_dns([], port)
        assert await query(OTHER) == "real"


async def test_capture_and_connections_go_together(real):
    async with cluster.connected() as it, nameserver.serving(named("s"), LOOPBACK) as port:
        for _ in range(3):
            await it.redirect.capture_dns([ip_address(LAN4)], port)
            assert await query(LAN4) == "s"
            assert (await cluster.ask(IPV4, ACCEPTING)).startswith("cluster dialled")
            await it.redirect.forget(ip_address(IPV4), ACCEPTING)


async def test_nameserver_with_a_zone_is_refused(real):
    async with Redirect.open() as redirect:
        with pytest.raises(RedirectError, match="zone"):
            await redirect.capture_dns([ip_address("fe80::1%lo")], 5353)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("host", [STUB, LAN4, LAN6])
async def test_sessions_are_a_chain_from_the_newest_to_the_nameserver(real, host, kind):
    async with capturing("old", [host]), capturing("middle", [host]), capturing("new", [host]):
        assert await query(host, kind) == "new > middle > old > real"


@pytest.mark.parametrize("ending", [0, 1, 2])
async def test_chain_closes_when_any_session_ends(real, ending):
    names = ["old", "middle", "new"]
    async with AsyncExitStack() as rest:
        ended = AsyncExitStack()
        for index, name in enumerate(names):
            stack = ended if index == ending else rest
            await stack.enter_async_context(capturing(name))
        await ended.aclose()
        names.pop(ending)
        for kind in KINDS:
            assert await query(LAN4, kind) == " > ".join([*names[::-1], "real"])


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("kind", KINDS)
async def test_upstream_socket_is_of_the_kind_that_was_asked_for(family, kind):
    async with Redirect.open() as redirect:
        with await redirect.upstream_socket(family, kind) as made:
            assert (made.family, made.type) == (family, kind)
            assert made.gettimeout() == 0
            assert not made.get_inheritable()


@pytest.fixture
def others_nat(_namespace):
    """Another user of NAT, such as Docker: conntrack's work goes on when a session has ended."""
    machine.load_rules(
        "table inet other { chain out { type nat hook postrouting priority 100; }; }"
    )
    yield
    machine.run("nft delete table inet other")


@asynccontextmanager
async def asker(host):
    """A program that asks all its questions through one socket; gives what asks one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:

        async def ask():
            with client.dup() as once:
                return await query(host, through=once)

        yield ask


@pytest.mark.parametrize("host", [STUB, LAN4, LAN6])
async def test_socket_that_is_used_for_long_follows_the_sessions(real, others_nat, host):
    async with asker(host) as ask:
        assert await ask() == "real"
        async with AsyncExitStack() as old:
            await old.enter_async_context(capturing("old", [host]))
            assert await ask() == "old > real"
            async with capturing("new", [host]):
                assert await ask() == "new > old > real"
            assert await ask() == "old > real"
            async with capturing("new", [host]):
                await old.aclose()
                assert await ask() == "new > real"
        assert await ask() == "real"


async def test_socket_that_is_used_for_long_follows_the_nameservers(real, others_nat):
    async with asker(LAN4) as ask, Redirect.open() as redirect:
        async with nameserver.serving(named("session"), LOOPBACK) as port:
            await redirect.capture_dns([ip_address(LAN4)], port)
            assert await ask() == "session"
            await redirect.capture_dns([ip_address(OTHER)], port)
            assert await ask() == "real"
            await redirect.capture_dns([ip_address(LAN4)], port)
            assert await ask() == "session"
