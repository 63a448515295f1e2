"""What the tests of the downlink set up in the cluster is what they take it for."""

from __future__ import annotations

import socket

import pytest

from lab import namespaces, network
from tests.e2e import objects
from tests.e2e.applications import ask, ask_by_datagram, name_of_answer, probes_of
from tests.e2e.waiting import until
from tests.e2e.workloads import (
    ADMIN,
    AFFINITY,
    DUAL_STACK,
    EXTERNAL_NAME,
    HEADLESS,
    HTTP,
    IPV6_ONLY,
    LOCAL,
    NAME_UDP,
    NO_SELECTOR,
    NODE_PORT,
    autoscaler,
    disruption_budget,
    give_address,
    node_port,
    pod,
    pods_of,
    probed,
    service,
    standing,
    two_containers,
    workload,
)

pytestmark = pytest.mark.usefixtures("no_trace")

SECONDS = 15


@pytest.fixture(scope="module")
def shop(lab):
    """One Deployment, and services of many kinds for its pods."""
    kinds = {
        "shop": {},
        "shop-headless": HEADLESS,
        "shop-affinity": AFFINITY,
        "shop-nodeport": NODE_PORT,
        "shop-local": LOCAL,
        "shop-v6": IPV6_ONLY,
        "shop-dual": DUAL_STACK,
    }
    services = [service(name, app="shop", **spec) for name, spec in kinds.items()]
    others = [
        service("shop-none", **NO_SELECTOR),
        service("shop-outside", **EXTERNAL_NAME),
        autoscaler("shop"),
        disruption_budget("shop"),
    ]
    with standing(lab, workload("Deployment", "shop"), *services, *others):
        yield


def addresses(lab, name):
    return objects.addresses_of_service(lab, name)


def test_every_port_is_answered_by_its_own_pods(lab, shop):
    (address,) = addresses(lab, "shop")
    assert ask(lab, address, HTTP)["port"] == 8080
    assert ask(lab, address, ADMIN)["port"] == ADMIN
    names = {item["metadata"]["name"] for item in pods_of(lab, "shop")}
    assert len(names) == 2
    assert ask_by_datagram(lab, address, NAME_UDP).split()[0].decode() in names


def test_affinity_keeps_to_one_pod(lab, shop):
    (address,) = addresses(lab, "shop-affinity")
    assert len({ask(lab, address, HTTP)["pod"] for _ in range(10)}) == 1


def test_families(lab, shop):
    assert [name_of_answer(lab, each, HTTP) for each in addresses(lab, "shop-dual")] == ["shop"] * 2
    (only,) = addresses(lab, "shop-v6")
    assert ":" in only
    assert name_of_answer(lab, only, HTTP) == "shop"


@pytest.mark.parametrize("name", ["shop-nodeport", "shop-local"])
def test_node_answers_at_a_port(lab, shop, name):
    assert name_of_answer(lab, network.NODE_V4, node_port(lab, name)) == "shop"


def test_load_balancer_answers_at_the_address_that_it_was_given(lab, shop):
    give_address(lab, "shop-local", "192.0.2.80")
    until(lambda: name_of_answer(lab, "192.0.2.80", HTTP) == "shop", SECONDS, "an answer")


def test_service_without_pods_refuses(lab, shop):
    (address,) = addresses(lab, "shop-none")

    def connect():
        socket.create_connection((address, HTTP), SECONDS)

    with pytest.raises(ConnectionRefusedError):
        namespaces.call_inside(lab.layout.node_net, connect)


def test_named_port_differs_between_pods(lab):
    one, other = (
        workload("Deployment", f"mixed-{offset}", app="mixed", replicas=1, offset=offset)
        for offset in (0, 100)
    )
    with standing(lab, one, other, service("mixed")):
        (address,) = addresses(lab, "mixed")
        assert {ask(lab, address, HTTP)["port"] for _ in range(50)} == {8080, 8180}


def test_pod_in_the_nodes_network_and_pod_with_two_containers(lab):
    host = pod("in-node", offset=1000, hostNetwork=True)
    two = pod("two", containers=two_containers("two"))
    with standing(lab, host, two, service("in-node"), service("two")):
        assert name_of_answer(lab, addresses(lab, "in-node")[0], HTTP) == "in-node"
        assert name_of_answer(lab, network.NODE_V4, 9080) == "in-node"
        (address, *_) = objects.addresses_of_pod(lab, "two")
        assert name_of_answer(lab, address, 8080) == "two"
        assert name_of_answer(lab, address, 9080) == "two-side"


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_other_workloads(lab, kind):
    with standing(lab, workload(kind, "other", replicas=1), service("other")):
        assert name_of_answer(lab, addresses(lab, "other")[0], HTTP) == "other"


def test_pod_notes_down_each_kind_of_probe(lab):
    with standing(lab, pod("probed", containers=[probed("probed")])):

        def kinds():
            return {(each["probe"], each["port"]) for each in probes_of(lab, "probed")}

        until(lambda: kinds() == {("http", 8080), ("tcp", ADMIN)}, SECONDS, "both probes")
