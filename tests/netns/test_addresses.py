"""Whose an address is, on the real kernel, where the cluster and this machine both have routes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest

from tests.netns import cluster, machine
from tests.netns.cluster import ACCEPTING, IPV4
from tests.unit.features.uplink.discovered import Discovered, Link
from towline.features.uplink.capture import Capture, Choice
from towline.features.uplink.leads import Leads
from towline.features.uplink.named import Named
from towline.features.uplink.targets import Targets
from towline.kube.config import Access

pytestmark = pytest.mark.usefixtures("traceless")

ACCESS = Access("https://10.96.200.200:6443", "default", "lab", "here")
SERVICES, LAN = ip_network("10.96.0.0/16"), ip_network("10.96.64.0/24")
API, SELF, ROUTER, NEIGHBOUR, THERE, NOBODY = (
    "10.96.200.200",
    "10.96.64.1",
    "10.96.64.254",
    "10.96.64.9",
    "10.96.64.7",
    "10.96.64.8",
)


@pytest.fixture
def lan(_namespace, traceless):
    """A network of this machine's that lies within the range of the cluster's services."""
    machine.run(f"""
        ip link add lan0 type veth peer name wire
        ip link set lan0 up
        ip link set wire up
        ip address add {SELF}/24 dev lan0
        ip neighbour add {NEIGHBOUR} lladdr 02:00:00:00:00:09 dev lan0 nud permanent
        ip route add default via {ROUTER}
    """)
    yield "lan0"
    machine.run("ip link delete lan0")


def way_to(address):
    return machine.run(f"ip -o route get {address}").partition(" dev ")[2].split()[0]


def network(*texts):
    return Targets(frozenset(map(ip_network, texts)))


@asynccontextmanager
async def capturing(*seen, services=SERVICES, include=(), exclude=()):
    """A session that captures the services' range; gives its cluster, leads and capture."""
    choice = Choice(network(*include), network(*exclude))
    discovered = Discovered(ip_network(services), *map(ip_network, seen))
    async with cluster.connected(ranges=()) as it:
        leads = Leads(it.redirect, Named(), excluded=choice.exclude.networks)
        told = []
        capture = Capture(ACCESS, discovered, leads, choice, lambda: "", told.append)
        await capture.look_around()
        await capture.begin(Link())
        yield it, leads, told


async def test_network_next_to_us_stays_but_for_what_exists_in_the_cluster(lan):
    async with capturing(THERE, NEIGHBOUR, ROUTER, SELF, API) as (it, _, told):
        device = it.redirect.device
        assert [way_to(each) for each in (THERE, IPV4)] == [device] * 2
        assert [way_to(each) for each in (NOBODY, NEIGHBOUR, ROUTER, API)] == [lan] * 4
        assert way_to(SELF) == "lo"
        assert (await cluster.ask(THERE, ACCEPTING)).startswith("cluster ")
        assert str(LAN) in told[0].what
    assert way_to(THERE) == lan


async def test_range_within_a_broader_route_of_ours_is_the_clusters_and_told(lan):
    machine.run(f"ip route add 10.0.0.0/8 via {ROUTER}")
    async with capturing("10.244.0.9", services="10.244.0.0/16") as (it, _, told):
        assert way_to("10.244.7.7") == it.redirect.device
        assert way_to("10.245.0.1") == lan
        (note,) = told
        assert (
            f"10.244.0.0/16 of the cluster hides a part of this machine's route 10.0.0.0/8 ({lan})"
            in (note.what)
        )
        assert "--exclude 10.244.0.0/16" in note.hint
    assert way_to("10.244.7.7") == lan


async def test_excluded_range_within_a_broader_route_stays_and_nothing_is_told(lan):
    machine.run(f"ip route add 10.0.0.0/8 via {ROUTER}")
    async with capturing(services="10.244.0.0/16", exclude=["10.244.0.0/16"]) as (_, _, told):
        assert way_to("10.244.7.7") == lan
        assert not told


async def test_included_network_of_our_own_is_the_clusters_but_for_who_is_there(lan):
    async with capturing(include=[str(LAN)]) as (it, _, told):
        assert way_to(NOBODY) == it.redirect.device
        assert [way_to(each) for each in (NEIGHBOUR, ROUTER)] == [lan] * 2
        assert not told


async def test_excluded_part_of_a_range_goes_its_own_way(lan):
    async with capturing(include=["10.97.0.0/16"], exclude=["10.97.3.0/24", IPV4]) as (it, _, _):
        assert [way_to(each) for each in ("10.97.3.9", IPV4)] == [lan] * 2
        assert [way_to(each) for each in ("10.97.4.0", "10.97.2.255")] == [it.redirect.device] * 2


async def test_network_of_ipv6_next_to_us_stays_just_as_well(lan):
    mine, there, nobody = (f"fd00:10:96::40:{number}" for number in (1, 7, 8))
    machine.run(f"ip address add {mine}/122 dev {lan} nodad")
    async with capturing(there, services="fd00:10:96::/64") as (it, _, told):
        assert [way_to(each) for each in (there, nobody)] == [it.redirect.device, lan]
        assert way_to("fd00:10:96::41:7") == it.redirect.device
        assert "fd00:10:96::40:0/122" in told[0].what


async def test_routes_change_without_disturbing_a_flow(lan):
    async with capturing() as (_, leads, _):
        with await cluster.connect(IPV4, ACCEPTING) as client:
            await cluster.first_line(client)
            await leads.hold("more", map(ip_network, ("10.96.0.0/20", "10.97.0.0/16")))
            await leads.spare([], [ip_network("10.96.0.64/26")])
            await leads.hold("more", [])
            assert way_to("10.97.0.1") == lan
            assert way_to("10.96.0.65") == lan
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, b"still here\n")
            assert await cluster.first_line(client) == "still here"
