"""What the link and the laptop's own lookups need keeps its way, and is followed when it moves."""

from __future__ import annotations

import json

import pytest

from lab import network
from tests.e2e import objects
from tests.e2e.tow import connected
from tests.e2e.waiting import until

pytestmark = pytest.mark.usefixtures("no_trace")

FOLLOWED_SECONDS = 15


@pytest.fixture
def resolv_conf(lab, no_trace):
    """The laptop's resolv.conf, for a test to write; it is restored afterwards."""
    path = lab.layout.laptop_etc / "resolv.conf"
    before = path.read_text()
    yield path
    path.write_text(before)


@pytest.fixture
def node(lab):
    """A service without a cluster IP, whose one address is the API server's own."""
    about = {"name": "node", "namespace": "default"}
    service = objects.service("node", "default", "", selector=None, clusterIP="None")
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**about, "labels": {"kubernetes.io/service-name": "node"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [network.NODE_V4]}],
        "ports": [{"port": 80}],
    }
    with objects.applied(lab, service, slices):
        yield about["name"]


def works(laptop):
    done = laptop.run("curl", "-sS", "--max-time", "5", "http://web")
    return done.returncode == 0 and json.loads(done.stdout)["name"] == "web"


def addresses(laptop, host):
    return {line.split()[0] for line in laptop.run("getent", "ahosts", host).stdout.splitlines()}


def test_name_with_the_api_servers_address_leaves_the_link_alone(lab, laptop, node):
    with connected(laptop) as session:
        until(lambda: addresses(laptop, node) == {network.NODE_V4}, 30, "the name to be there")
        laptop.connect_to(network.NODE_V4, network.API_PORT).close()
        assert works(laptop)
        (status,) = json.loads(laptop.run(laptop.tow, "status", "-o", "json").stdout)
    assert status["state"] == "connected"
    assert status["ranges"] == session.ready()["ranges"]
    assert session.events[-1]["event"] == "ready"


def test_lookups_are_led_here_when_the_nameservers_change(laptop, resolv_conf):
    with connected(laptop):
        assert works(laptop)
        resolv_conf.write_text(f"nameserver {network.DNS_V6}\n")
        until(lambda: works(laptop), FOLLOWED_SECONDS, "names to work with the new nameserver")
        assert addresses(laptop, "alias.example")


def test_nameserver_that_cannot_be_redirected_is_told(laptop, resolv_conf):
    with connected(laptop) as session:
        resolv_conf.write_text("nameserver fe80::1%eth0\n")
        note = session.event("note")
    assert "link-local" in note["message"]
    assert note["hint"]
