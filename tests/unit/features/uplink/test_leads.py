"""What is led into the link, and what is not."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from towline.cluster.ranges import Source
from towline.features.uplink.leads import INCLUDED, Leads, addresses_of, hosts_of, leadable
from towline.features.uplink.named import KEEP_SECONDS, Named
from towline.kube.config import Access

API, DNS, POD = (ip_address(text) for text in ("10.0.0.1", "10.0.0.2", "198.51.100.7"))
ACCESS = Access("https://api.example:6443", "default", "lab", "here")


class Routes:
    """A kernel that makes all routes but those of `refusing`."""

    def __init__(self) -> None:
        self.led = set()
        self.refusing = set()

    async def add_routes(self, ranges):
        self.led.update(set(ranges) - self.refusing)
        return dict.fromkeys(self.refusing.intersection(ranges), "no room")

    async def remove_routes(self, ranges):
        self.led.difference_update(ranges)

    def lead(self, address):
        return any(address in network for network in self.led)


@pytest.fixture
def routes():
    return Routes()


def lasting(*addresses):
    """Addresses as an answer tells of them, with how long they hold."""
    return dict.fromkeys(addresses, 30)


async def test_what_the_link_needs_is_left_out_of_the_ranges(routes):
    leads = Leads(routes, Named(), [API])
    await leads.hold("them", [ip_network("10.0.0.0/16")])
    assert not routes.lead(API)
    assert API not in leads
    assert routes.lead(DNS)
    assert leads.ranges == [ip_network("10.0.0.0/16")]


async def test_name_with_the_address_that_the_link_needs_does_not_lead_it(routes):
    leads = Leads(routes, Named(), [API])
    await leads.add_addresses(lasting(API, POD))
    assert routes.led == {ip_network("198.51.100.7/32")}
    assert POD in leads


async def test_address_that_is_kept_out_later_leaves_its_range(routes):
    leads = Leads(routes, Named(), [API])
    await leads.hold("them", [ip_network("10.0.0.0/16")])
    await leads.add_addresses(lasting(POD))
    await leads.keep_out([DNS, POD])
    assert [routes.lead(each) for each in (API, DNS, POD)] == [False] * 3
    assert all(routes.lead(ip_address(text)) for text in ("10.0.0.3", "10.0.0.0", "10.0.255.255"))


async def test_neighbouring_addresses_are_kept_out_one_by_one(routes):
    leads = Leads(routes, Named())
    await leads.add_addresses(lasting(POD, POD + 1))
    await leads.keep_out([POD])
    assert (routes.lead(POD), routes.lead(POD + 1)) == (False, True)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "::1", "fe80::1", "ff02::1"]
)
async def test_addresses_that_are_no_clusters_are_not_led(routes, address):
    assert not leadable(ip_network(address))
    leads = Leads(routes, Named())
    await leads.add_addresses(lasting(ip_address(address)))
    await leads.hold("them", [ip_network(address)])
    assert routes.led == set()
    assert leads.ranges == []


async def test_networks_are_led_for_as_long_as_anybody_wants_them(routes):
    leads = Leads(routes, Named())
    one, other = ip_network("10.0.0.0/16"), ip_network("10.1.0.0/16")
    await leads.hold("them", [one, other])
    await leads.hold("others", [one])
    await leads.hold("them", [other])
    assert routes.led == {one, other}
    assert leads.sources == {"them": [other], "others": [one]}
    await leads.hold("others", [])
    assert routes.led == {other}
    assert API not in leads


async def test_what_is_excluded_is_led_for_nobody(routes):
    out = ip_network("10.0.0.0/24")
    leads = Leads(routes, Named(), excluded=[out])
    for who in ("them", INCLUDED, Source.SEEN):
        await leads.hold(who, [ip_network("10.0.0.0/16"), ip_network("10.0.0.7/32")])
    await leads.add_addresses(lasting(API))
    assert not any(routes.lead(address) for address in out)
    assert routes.lead(ip_address("10.0.1.0"))
    assert "named" not in leads.sources


async def test_nodes_are_led_only_where_they_are_included(routes):
    leads = Leads(routes, Named())
    await leads.spare([POD], [])
    await leads.add_addresses(lasting(POD))
    await leads.hold("them", [ip_network("198.51.100.0/24")])
    await leads.hold(Source.SEEN, [ip_network(POD)])
    assert not routes.lead(POD)
    await leads.hold(INCLUDED, [ip_network("198.51.100.0/28")])
    assert routes.lead(POD)


async def test_where_this_machine_has_routes_only_what_exists_is_led(routes):
    leads = Leads(routes, Named())
    own = ip_network("10.0.0.0/24")
    await leads.hold("them", [ip_network("10.0.0.0/16")])
    await leads.spare([], [own])
    await leads.hold(Source.SEEN, [ip_network(API)])
    assert [address for address in own if routes.lead(address)] == [API]
    await leads.add_addresses(lasting(DNS))
    assert [address for address in own if routes.lead(address)] == [API, DNS]
    await leads.spare([], [])
    assert all(routes.lead(address) for address in own)


async def test_route_of_a_name_goes_when_it_was_not_used_for_its_lifetime(routes, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    leads = Leads(routes, Named())
    await leads.add_addresses(lasting(POD))
    await leads.add_addresses({DNS: 2 * KEEP_SECONDS})
    now += KEEP_SECONDS - 1
    await leads.drop_unused()
    assert all(map(routes.lead, (POD, DNS)))
    now += 1
    await leads.drop_unused()
    assert list(map(routes.lead, (POD, DNS))) == [False, True]
    assert POD not in leads
    assert leads.sources == {"named": [ip_network(DNS)]}
    await leads.add_addresses(lasting(POD))
    assert routes.lead(POD)


async def test_route_of_a_name_stays_where_others_want_it(routes, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    leads = Leads(routes, Named())
    await leads.add_addresses(lasting(POD))
    await leads.hold(Source.SEEN, [ip_network(POD)])
    now += KEEP_SECONDS
    await leads.drop_unused()
    assert routes.lead(POD)


async def test_lookup_that_finds_a_name_again_prolongs_its_route(routes, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    leads = Leads(routes, Named())
    for _ in range(3):
        await leads.add_addresses(lasting(POD))
        now += KEEP_SECONDS - 1
        await leads.drop_unused()
        assert routes.lead(POD)


async def test_one_route_that_the_kernel_refuses_leaves_the_others_and_is_told(routes):
    one, other = ip_network("10.0.0.0/16"), ip_network("10.1.0.0/16")
    routes.refusing.add(one)
    leads = Leads(routes, Named())
    await leads.hold("them", [one, other])
    assert routes.led == {other}
    assert leads.refused == {one: "no room"}
    await leads.hold("them", [other])
    assert leads.refused == {}


def test_hosts_are_the_servers_and_its_proxys(monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert hosts_of(ACCESS) == ["api.example"]
    assert hosts_of(replace(ACCESS, proxy="http://proxy:3128")) == ["api.example", "proxy"]
    monkeypatch.setenv("HTTPS_PROXY", "proxy.corp:3128")
    assert hosts_of(ACCESS) == ["api.example", "proxy.corp"]


async def test_link_goes_to_the_server_and_the_proxy_where_there_is_one():
    own = replace(ACCESS, server="https://10.0.0.1:6443")
    assert await addresses_of(own) == {API}
    assert await addresses_of(replace(own, proxy="http://10.0.0.2:3128")) == {API, DNS}
