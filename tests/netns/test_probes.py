from __future__ import annotations

import subprocess
from ipaddress import ip_address

import pytest

from tests.netns import machine, ordinary
from towline.redirect import conflicts, probes
from towline.redirect.rtnetlink import Rtnetlink

pytestmark = pytest.mark.usefixtures("traceless")


async def test_machine_that_has_all_passes():
    found = await probes.probe_all()
    assert [probe.name for probe in found] == ["root", "tun", "nftables", "nft rules", "ipv6"]
    assert all(probe.ok for probe in found)
    assert not any(probe.hint for probe in found)


async def test_trial_changes_nothing_beside_a_session():
    machine.run("ip tuntap add tow0 mode tun")
    before = machine.snapshot()
    assert all(probe.ok for probe in await probes.probe_kernel())
    assert machine.snapshot() == before
    machine.run("ip tuntap del tow0 mode tun")


async def test_machine_without_ipv6_is_told_what_it_misses():
    machine.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    probe = probes.probe_ipv6()
    assert probe.ok
    assert "turned off" in probe.what
    assert "sysctl" in probe.hint
    machine.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=0")


def test_ordinary_user_can_try_without_a_password(tmp_path):
    done = subprocess.run(
        ordinary.command(tmp_path, ordinary.WITH_PASSWORD, "-I", "-m", "towline.redirect.trial"),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert '"name": "tun"' in done.stdout
    assert '"ok": false' not in done.stdout


def test_routes_of_this_machine_are_read_without_those_of_sessions():
    machine.run("ip route add 10.8.0.0/16 dev lo; ip -6 route add fd08::/32 dev lo")
    machine.run("ip route add blackhole 10.9.0.0/16; ip route add default dev lo")
    machine.run("ip tuntap add tow0 mode tun; ip link set tow0 up")
    machine.run("ip route add 10.96.0.0/16 dev tow0; ip route add 10.7.0.0/16 dev lo table 77")
    networks = {str(route.network) for route in conflicts.read_routes()}
    assert networks == {"10.8.0.0/16", "fd08::/32", "10.9.0.0/16", "10.7.0.0/16"}
    machine.run("ip tuntap del tow0 mode tun; ip route flush table 77")
    machine.run("ip route del 10.8.0.0/16; ip -6 route del fd08::/32")
    machine.run("ip route del blackhole 10.9.0.0/16; ip route del default")


@pytest.mark.parametrize(
    ("address", "is_near"),
    [
        ("192.0.2.7", True),  # this machine's
        ("192.0.2.8", True),  # next to it
        ("fd99::7", True),
        ("fd99::8", True),
        ("198.51.100.1", False),  # behind a router
        ("10.8.0.1", False),  # behind a VPN's device
        ("10.9.0.1", False),  # nowhere
        ("fd98::1", False),
        ("203.0.113.1", False),  # by the default route
    ],
)
def test_neighbours_are_told_from_what_lies_behind_a_route(address, is_near):
    machine.run("ip link add wire type veth peer far; ip link set wire up; ip link set far up")
    machine.run("ip address add 192.0.2.7/24 dev wire; ip address add fd99::7/64 dev wire nodad")
    machine.run("ip route add 198.51.100.0/24 via 192.0.2.1; ip route add 10.8.0.0/16 dev wire")
    machine.run("ip route add blackhole 10.9.0.0/16; ip route add default dev wire")
    machine.run("ip -6 route add fd98::/64 via fd99::1")
    with Rtnetlink() as kernel:
        found = kernel.is_near(ip_address(address))
    machine.run("ip link del wire; ip route del blackhole 10.9.0.0/16")
    assert found == is_near
