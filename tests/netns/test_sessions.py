"""Several sessions on one machine: each works, whichever ends first."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from ipaddress import ip_network

import pytest

from tests.netns import cluster, machine
from tests.netns.cluster import ACCEPTING, HOSTS, IPV4, REFUSING
from towline.errors import RedirectError
from towline.redirect import ruleset
from towline.redirect.control import Redirect

pytestmark = pytest.mark.usefixtures("traceless")

OTHER = [ip_network("10.200.0.0/16")]


async def test_two_sessions_with_ranges_of_their_own():
    async with cluster.connected("one"), cluster.connected("two", OTHER):
        for _ in range(2):
            assert (await cluster.ask(IPV4, ACCEPTING)).startswith("one ")
            assert (await cluster.ask("10.200.0.1", ACCEPTING)).startswith("two ")


@pytest.mark.parametrize("host", HOSTS)
async def test_newest_has_ranges_that_both_want_until_it_ends(host):
    async with cluster.connected("old"):
        assert (await cluster.ask(host, ACCEPTING)).startswith("old ")
        async with cluster.connected("new") as new:
            assert await cluster.ask(host, ACCEPTING) == f"new dialled {host} {ACCEPTING}"
            assert await cluster.ask(host, ACCEPTING) == f"new known {host} {ACCEPTING}"
            with pytest.raises(ConnectionRefusedError):
                await cluster.connect(host, REFUSING)
            assert new.redirect.device == "tow1"
        assert (await cluster.ask(host, ACCEPTING)).startswith("old ")


@pytest.mark.parametrize("host", HOSTS)
async def test_older_session_ends_and_the_newer_stays(host):
    async with AsyncExitStack() as old:
        await old.enter_async_context(cluster.connected("old"))
        async with cluster.connected("new"):
            await cluster.ask(host, ACCEPTING)
            await old.aclose()
            assert await cluster.ask(host, ACCEPTING) == f"new known {host} {ACCEPTING}"
            assert (await cluster.ask(host, 8080)).startswith("new dialled")
            with pytest.raises(ConnectionRefusedError):
                await cluster.connect(host, REFUSING)


@pytest.mark.parametrize("host", HOSTS)
async def test_open_connections_outlive_a_newer_session_that_comes_and_goes(host):
    sent = os.urandom(100_000)
    async with cluster.connected("old"):
        reader, writer = await asyncio.open_connection(sock=await cluster.connect(host, ACCEPTING))
        await reader.readline()

        async def echo():
            writer.write(sent)
            async with asyncio.timeout(10):
                assert await reader.readexactly(len(sent)) == sent

        await echo()
        async with cluster.connected("new"):
            await echo()
        await echo()
        writer.close()


async def test_dial_that_ends_after_a_newer_session_came_still_connects():
    async with cluster.connected("old") as old:
        dialling, proceed = asyncio.Event(), asyncio.Event()

        async def wait(address, port):
            dialling.set()
            await proceed.wait()

        old.delay = wait
        connecting = asyncio.ensure_future(cluster.ask(IPV4, ACCEPTING))
        await dialling.wait()
        async with cluster.connected("new"):
            proceed.set()
            assert await connecting == f"old dialled {IPV4} {ACCEPTING}"


async def test_rank_is_above_all_and_is_used_again():
    async with AsyncExitStack() as first, AsyncExitStack() as second:
        one = await first.enter_async_context(Redirect.open())
        two = await second.enter_async_context(Redirect.open())
        assert (one.device, two.device) == ("tow0", "tow1")
        await first.aclose()
        async with Redirect.open() as three:
            assert three.device == "tow2"  # newer than tow1, so above it
        await second.aclose()
        async with Redirect.open() as four:
            assert four.device == "tow0"


async def test_ten_sessions_begun_at_once_have_ranks_of_their_own():
    async with AsyncExitStack() as stack:
        opened = await asyncio.gather(
            *(stack.enter_async_context(Redirect.open()) for _ in range(10))
        )
        assert len({each.device for each in opened}) == 10


async def test_table_of_that_name_is_left_alone():
    machine.load_rules("table inet tow0 { chain mine { }; }\n")
    before = machine.run("nft list table inet tow0")
    async with Redirect.open() as redirect:
        assert redirect.device == "tow1"
    assert machine.run("nft list table inet tow0") == before
    machine.run("nft delete table inet tow0")


async def test_flush_of_the_machines_rules_leaves_a_sessions():
    """As when a firewall is reloaded."""
    machine.load_rules("table inet other { chain mine { }; }\n")
    async with cluster.connected():
        await cluster.ask(IPV4, ACCEPTING)
        machine.run("nft flush ruleset")
        assert await cluster.ask(IPV4, ACCEPTING) == f"cluster known {IPV4} {ACCEPTING}"


async def test_range_with_a_route_of_the_same_metric_is_left_and_the_others_are_led():
    metric = ruleset.MAX_RANK + 1
    taken, free = cluster.RANGES[0], list(map(ip_network, ("10.1.0.0/16", "10.3.0.0/16")))
    machine.run(f"ip route add {taken} dev lo metric {metric}")
    async with Redirect.open() as redirect:
        refused = await redirect.add_routes([free[0], taken, *cluster.RANGES, free[1]])
        assert refused == {taken: "a route of the same metric is here"}
        ways = machine.run("ip route show dev tow0; ip -6 route show dev tow0")
        assert all(str(network) in ways for network in (*free, cluster.RANGES[1]))
        await redirect.remove_routes([*cluster.RANGES, *free])
        assert str(taken) in machine.run("ip route show dev lo")
    machine.run(f"ip route del {taken} dev lo")


async def test_sessions_go_on_below_when_no_rank_above_is_left():
    last = ruleset.device(ruleset.MAX_RANK)
    machine.run(f"ip tuntap add {last} mode tun")
    machine.load_rules("table inet tow1 { chain mine { }; }\n")
    async with cluster.connected("one") as one, cluster.connected("two", OTHER) as two:
        assert [each.redirect.device for each in (one, two)] == ["tow0", "tow2"]
        assert (await cluster.ask(IPV4, ACCEPTING)).startswith("one ")
        assert (await cluster.ask("10.200.0.1", ACCEPTING)).startswith("two ")
    machine.run(f"nft delete table inet tow1; ip tuntap del {last} mode tun")


async def test_too_many_sessions_are_said():
    every = [ruleset.device(rank) for rank in range(ruleset.MAX_RANK + 1)]
    machine.run("\n".join(f"ip tuntap add {each} mode tun" for each in every))
    with pytest.raises(RedirectError, match="too many"):
        async with Redirect.open():
            pass
    machine.run("\n".join(f"ip tuntap del {each} mode tun" for each in every))


async def test_address_avoids_the_networks_of_this_machine():
    machine.run("ip address add 192.0.2.7/24 dev lo; ip route add 198.51.100.0/24 dev lo")
    async with cluster.connected() as it:
        assert "203.0.113.1/32" in machine.run(f"ip -4 address show {it.redirect.device}")
        assert (await cluster.ask(IPV4, ACCEPTING)).startswith("cluster dialled")
    machine.run("ip address del 192.0.2.7/24 dev lo; ip route del 198.51.100.0/24 dev lo")


async def test_default_route_does_not_count_as_a_network():
    machine.run("ip route add 0.0.0.0/1 dev lo; ip route add default dev lo")
    async with Redirect.open() as redirect:
        assert "192.0.2.1/32" in machine.run(f"ip -4 address show {redirect.device}")
    machine.run("ip route del 0.0.0.0/1 dev lo; ip route del default dev lo")


async def test_machine_without_ipv6_has_the_rest():
    machine.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    async with cluster.connected() as it:
        assert not it.redirect.ipv6
        assert (await cluster.ask(IPV4, ACCEPTING)).startswith("cluster dialled")
        assert machine.run("ip -6 route") == ""
    machine.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=0")


async def test_device_speaks_for_itself_never():
    """No router solicitation, no multicast report: only what programs send comes out."""
    async with Redirect.open() as redirect:
        came = []
        redirect.tun.receive(came.append)
        await asyncio.sleep(1.5)
        assert came == []
