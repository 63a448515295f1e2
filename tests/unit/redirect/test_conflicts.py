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


@given(st.lists(st.integers(0, 2**16 - 1), max_size=6))
def test_without_takes_out_exactly_the_addresses(offsets):
    whole = net("10.96.0.0/16")
    holes = [whole[offset] for offset in offsets]
    rest = conflicts.without([whole], holes)
    assert sum(each.num_addresses for each in rest) == whole.num_addresses - len(set(holes))
    assert not any(hole in each for hole in holes for each in rest)
    assert all(each.subnet_of(whole) for each in rest)


def test_without_leaves_other_ranges_as_they_are():
    ranges = [net("10.96.0.0/16"), net("fd00::/64")]
    addresses = [ipaddress.ip_address("192.168.1.1"), ipaddress.ip_address("fd01::1")]
    assert conflicts.without(ranges, addresses) == ranges


def test_without_a_range_of_one_address_leaves_nothing_of_it():
    assert conflicts.without([net("10.0.0.1/32")], [ipaddress.ip_address("10.0.0.1")]) == []
