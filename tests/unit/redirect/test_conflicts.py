from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.redirect import conflicts
from towline.redirect.conflicts import Route

net = ipaddress.ip_network


@pytest.mark.parametrize(
    ("wanted", "own", "cluster_wins"),
    [
        ("10.96.0.0/12", "10.100.0.0/16", False),
        ("10.96.0.0/16", "10.0.0.0/8", True),
        ("10.96.0.0/16", "10.96.0.0/16", False),
        ("fd00:10::/64", "fd00::/16", True),
    ],
)
def test_find_says_whose_the_shared_addresses_are(wanted, own, cluster_wins):
    (conflict,) = conflicts.find([net(wanted)], [Route(net(own), "wg0")])
    assert conflict == conflicts.Conflict(net(wanted), Route(net(own), "wg0"), cluster_wins)
    assert "wg0" in str(conflict)


@pytest.mark.parametrize(
    ("wanted", "own"),
    [
        ("10.96.0.0/16", "10.97.0.0/16"),
        ("10.96.0.0/16", "0.0.0.0/0"),
        ("10.96.0.0/16", "0.0.0.0/1"),  # a VPN's half of the default route
        ("fd00::/64", "::/0"),
        ("2001:db8::/32", "2000::/3"),
        ("fd00::/64", "10.96.0.0/16"),
    ],
)
def test_find_passes_over_what_does_not_overlap_or_is_a_default(wanted, own):
    assert conflicts.find([net(wanted)], [Route(net(own), "eth0")]) == []


def test_routes_of_keeps_only_ways_to_elsewhere():
    entries = [
        {"dst": "default", "gateway": "192.168.1.1", "dev": "eth0"},
        {"dst": "192.168.1.0/24", "dev": "eth0", "protocol": "kernel", "scope": "link"},
        {"dst": "10.8.0.1", "dev": "tun0"},
        {"type": "blackhole", "dst": "10.9.0.0/16"},
        {"type": "local", "dst": "192.168.1.5", "dev": "eth0", "table": "local"},
        {"type": "broadcast", "dst": "192.168.1.255", "dev": "eth0", "table": "local"},
        {"type": "multicast", "dst": "ff00::/8", "dev": "eth0", "table": "local"},
        {"dst": "fe80::/64", "dev": "eth0"},
        {"dst": "10.96.0.0/16", "dev": "tow0"},
        {"dst": "169.254.0.0/16", "dev": "eth0"},
    ]
    assert conflicts.routes_of(entries) == [
        Route(net("192.168.1.0/24"), "eth0"),
        Route(net("10.8.0.1/32"), "tun0"),
        Route(net("10.9.0.0/16"), ""),
    ]


def test_read_routes_reads_this_machines():
    assert all(isinstance(route, Route) for route in conflicts.read_routes())


def networks(bits):
    """IPv4 networks within 10.0.0.0 and that many bits, which overlap often."""
    places = st.tuples(st.integers(0, 2**bits - 1), st.integers(32 - bits, 32))
    base = int(ipaddress.ip_address("10.0.0.0"))
    return places.map(lambda place: ipaddress.ip_network((base + place[0], place[1]), strict=False))


@given(st.lists(networks(6), max_size=4), st.lists(networks(6), max_size=6))
def test_without_leaves_exactly_what_is_in_no_hole(wanted, holes):
    rest = conflicts.without(wanted, holes)
    for address in net("10.0.0.0/25"):
        is_wanted = any(address in each for each in wanted)
        is_hole = any(address in each for each in holes)
        assert any(address in each for each in rest) == (is_wanted and not is_hole)


@given(networks(8), st.lists(networks(8), max_size=8))
def test_without_needs_as_few_networks_as_there_can_be(wanted, holes):
    rest = conflicts.without([wanted], holes)
    assert rest == list(ipaddress.collapse_addresses(rest))


def test_without_keeps_networks_apart_that_could_be_one():
    halves = [net("10.0.1.0/24"), net("10.0.0.0/24")]
    assert conflicts.without(halves, []) == halves


def test_without_leaves_other_families_and_ranges_as_they_are():
    ranges = [net("10.96.0.0/16"), net("fd00::/64")]
    assert conflicts.without(ranges, [net("192.168.1.1"), net("fd01::1")]) == ranges
    assert conflicts.without(ranges, [net("0.0.0.0/0")]) == [net("fd00::/64")]


def test_without_a_range_of_one_address_leaves_nothing_of_it():
    assert conflicts.without([net("10.0.0.1/32")], [net("10.0.0.1")]) == []


def test_without_many_leaves_exactly_the_rest():
    addresses = [net(f"10.{i // 250}.{i % 250}.1") for i in range(1000)]
    assert conflicts.without(addresses, addresses[::2]) == addresses[1::2]
    rest = conflicts.without([net("10.0.0.0/8")], addresses[:100])
    assert sum(each.num_addresses for each in rest) == 2**24 - 100


def test_near_are_gateways_and_neighbours_that_answer():
    entries = [
        {"dst": "default", "gateway": "192.168.1.1", "dev": "eth0"},
        {"dst": "192.168.1.0/24", "dev": "eth0", "protocol": "kernel"},
        {"dst": "192.168.1.7", "dev": "eth0", "lladdr": "02:00:00:00:00:07", "state": ["STALE"]},
        {"dst": "192.168.1.8", "dev": "eth0", "state": ["FAILED"]},
        {"dst": "192.168.1.9", "dev": "eth0", "lladdr": "02:00:00:00:00:09", "state": ["FAILED"]},
        {"dst": "ff02::1", "dev": "eth0", "lladdr": "33:33:00:00:00:01", "state": ["NOARP"]},
    ]
    assert conflicts.near_of(entries) == {
        ipaddress.ip_address("192.168.1.1"),
        ipaddress.ip_address("192.168.1.7"),
    }
