"""An exchange of every kind of service: each way to it leads here, and to the pods otherwise."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

import dns.message
import dns.query
import pytest

from lab import namespaces, network, settings
from tests.e2e import objects
from tests.e2e.applications import ask, ask_by_datagram, local_application
from tests.e2e.exchanging import exchanged, exchanging
from tests.e2e.waiting import until
from tests.e2e.workloads import (
    ADMIN,
    AFFINITY,
    DUAL_STACK,
    HEADLESS,
    HTTP,
    IPV6_ONLY,
    LOAD_BALANCER,
    LOCAL,
    NAME_UDP,
    NODE_PORT,
    autoscaler,
    disruption_budget,
    give_address,
    pod,
    service,
    standing,
    two_containers,
    workload,
)
from towline.features.downlink.selector import REMEMBERED_SECONDS

pytestmark = pytest.mark.usefixtures("no_trace")

SECONDS = 15
HERE = "here"
# Many sessions that start at a time need a while to come to their agents.
GRACE = "--grace=30"
BOTH = "--expose=8080:http,7004:name"
LONG = "s" + "-long" * 12 + "er"
assert len(LONG) == 63

KINDS = {
    "plain": {},
    "dual": DUAL_STACK,
    "v6": IPV6_ONLY,
    "headless": {**HEADLESS, **DUAL_STACK},
    "nodeport": {**NODE_PORT, **DUAL_STACK},
    "balanced": LOAD_BALANCER,
    "local": LOCAL,
    "inner-local": {"internalTrafficPolicy": "Local"},
    "unready": {"publishNotReadyAddresses": True},
    LONG: {},
    "adorned": {},
}
NOTES = {
    "headless": "headless",
    "local": "externalTrafficPolicy is Local",
    "inner-local": "internalTrafficPolicy is Local",
}
LOAD_BALANCERS = {"balanced": "192.0.2.81", "local": "192.0.2.82"}


class Door(NamedTuple):
    """A way into a service: an address, and the number of its port `http` there, and so on."""

    address: str
    http: int = HTTP
    admin: int = ADMIN
    name: int = NAME_UDP


@pytest.fixture(scope="module")
def shop(lab):
    """One Deployment with all that may watch over it, and services of many kinds for its pods."""
    services = [service(name, app="shop", **spec) for name, spec in KINDS.items()]
    adorn(services[-1])
    with standing(
        lab,
        workload("Deployment", "shop"),
        autoscaler("shop"),
        disruption_budget("shop"),
        service("affine", app="shop", **AFFINITY),
        *services,
    ):
        for name, address in LOAD_BALANCERS.items():
            give_address(lab, name, address)
        yield


def adorn(made):
    """Give a service what says nothing of where it leads."""
    made["metadata"] |= {"labels": {"app": "shop", "a/b": "c"}, "annotations": {"d": "$(E) é"}}
    made["spec"]["ports"][0]["appProtocol"] = "kubernetes.io/h2c"


def doors(lab, name):
    """All ways to a service from outside and inside."""
    live = lab.kubectl_json("service", name)
    spec = live["spec"]
    if spec["clusterIP"] == "None":
        return [Door(each, 8080) for each in resolved(lab, name)]
    given = live["status"]["loadBalancer"].get("ingress", ())
    found = [Door(each) for each in (*spec["clusterIPs"], *(entry["ip"] for entry in given))]
    if "nodePort" in spec["ports"][0]:
        nodes = {"IPv4": network.NODE_V4, "IPv6": network.NODE_V6}
        ports = [each["nodePort"] for each in spec["ports"]]
        found += [Door(nodes[family], *ports) for family in spec["ipFamilies"]]
    return found


def resolved(lab, name):
    """What its name stands for now, in both families."""

    def look():
        queries = [
            dns.message.make_query(f"{name}.default.svc.cluster.local", kind)
            for kind in ("A", "AAAA")
        ]
        replies = [dns.query.udp(each, settings.CLUSTER_DNS, timeout=5) for each in queries]
        return [record.to_text() for reply in replies for rrset in reply.answer for record in rrset]

    return namespaces.call_inside(lab.layout.node_net, look)


def udp_answerer(lab, door):
    """Who answers a datagram, as the name of its workload or of the laptop's program."""
    pod = ask_by_datagram(lab, door.address, door.name).split()[0].decode()
    return HERE if pod == socket.gethostname() else pod.rsplit("-", 2)[0]


def await_answers(lab, name, wanted, clients=()):
    """Wait until all ways lead to who is wanted; to them it is one of `clients` that asks."""

    def all_answer():
        with suppress(OSError):
            ways = doors(lab, name)
            assert ways
            answers = [ask(lab, door.address, door.http) for door in ways]
            names = {answer["name"] for answer in answers}
            names |= {udp_answerer(lab, door) for door in ways}
            asked = {answer["client"] for answer in answers}
            return names == {wanted} and (not clients or asked.issubset(clients))
        return False

    until(all_answer, SECONDS, f"answers of {wanted!r} to {clients or 'all'}")


@contextmanager
def all_exchanged(laptop, names, expose):
    """An exchange of each at the same time, ended as Ctrl-C ends it; gives their sessions."""
    with ExitStack() as stack:
        sessions = {
            name: stack.enter_context(exchanging(laptop, name, expose, GRACE)) for name in names
        }
        for session in sessions.values():
            session.ready()
        yield sessions
        for session in sessions.values():
            session.interrupt()
        assert [session.end() for session in sessions.values()] == [0] * len(sessions)


def notes(session):
    return [event["message"] for event in session.events if event["event"] == "note"]


def addresses_of_agent(lab, session):
    return objects.addresses_of_pod(lab, session.ready()["agent"])


def as_written(lab, name):
    """A service without what each write changes."""
    live = lab.kubectl_json("service", name)
    kept = ("labels", "annotations", "ownerReferences", "uid")
    return live["spec"], {key: live["metadata"].get(key) for key in kept}


def test_every_way_leads_here_and_to_the_pods_for_the_rest(lab, laptop, shop, no_trace):
    before = {name: as_written(lab, name) for name in KINDS}
    with all_exchanged(laptop, KINDS, BOTH) as sessions:
        for name, session in sessions.items():
            await_answers(lab, name, "shop", addresses_of_agent(lab, session))
            assert [NOTES[name] in each for each in notes(session)] == [True] * (name in NOTES)
        with local_application(laptop, HERE):
            for name, session in sessions.items():
                session.event("served")
                await_answers(lab, name, HERE)
                for door in doors(lab, name):
                    assert ask(lab, door.address, door.admin)["name"] == "shop"
        remembered = doors(lab, "headless")
    no_trace.cluster_seconds += REMEMBERED_SECONDS
    for name in ("headless", *KINDS):
        assert as_written(lab, name) == before[name]
        await_answers(lab, name, "shop")
        if name == "headless":
            assert {ask(lab, door.address, door.http)["name"] for door in remembered} == {"shop"}


@pytest.fixture(scope="module")
def oddities(lab):
    """Pods of which a service's ports lead to different numbers, and others that are unusual."""
    one, other = (
        workload("Deployment", f"mixed-{offset}", app="mixed", replicas=1, offset=offset)
        for offset in (0, 100)
    )
    in_node = pod("in-node", offset=1000, hostNetwork=True)
    two = pod("two", containers=two_containers("two"))
    side = service(
        "side", app="two", ports=[{"name": "http", "port": 80, "targetPort": "side-http"}]
    )
    services = (service(name) for name in ("mixed", "in-node"))
    with standing(lab, one, other, in_node, two, side, *services):
        with objects.applied(lab, service("nothing-behind")):
            yield


def test_pods_with_other_ports_answer_until_a_program_does(lab, laptop, oddities):
    names = {"mixed": {"mixed-0", "mixed-100"}, "in-node": {"in-node"}, "side": {"two-side"}}
    with all_exchanged(laptop, (*names, "nothing-behind"), "--expose=8080:http") as sessions:
        for name, wanted in names.items():
            clients = addresses_of_agent(lab, sessions[name])
            await_all_answer(lab, name, wanted, clients)
        with local_application(laptop, HERE):
            for name, session in sessions.items():
                session.event("served")
                await_all_answer(lab, name, {HERE})
    for name, wanted in names.items():
        await_all_answer(lab, name, wanted)


def await_all_answer(lab, name, wanted, clients=()):
    """Wait until each of `wanted`, and nobody else, answers within some requests."""
    (address,) = objects.addresses_of_service(lab, name)

    def all_answer():
        with suppress(OSError):
            answers = [ask(lab, address, HTTP) for _ in range(20)]
            asked = {answer["client"] for answer in answers}
            names = {answer["name"] for answer in answers}
            return names == wanted and (not clients or asked.issubset(clients))
        return False

    until(all_answer, SECONDS, f"answers of {wanted!r} to {clients or 'all'}")


def test_affinity_holds_and_pins_no_client_to_a_pod_that_it_had_before(lab, laptop, shop):
    (address,) = objects.addresses_of_service(lab, "affine")

    def pods():
        return {ask(lab, address, HTTP)["pod"] for _ in range(10)}

    assert len(pods()) == 1
    with exchanged(laptop, "affine", BOTH) as session:
        await_answers(lab, "affine", "shop", addresses_of_agent(lab, session))
        assert len(pods()) == 1
        with local_application(laptop, HERE):
            session.event("served")
            await_answers(lab, "affine", HERE)
    await_answers(lab, "affine", "shop")
    assert len(pods()) == 1


def test_client_that_keeps_its_socket_for_datagrams_is_led_to_whoever_has_the_service(
    lab, laptop, shop
):
    (address,) = objects.addresses_of_service(lab, "plain")
    with asking(lab, address) as ask_again, local_application(laptop, HERE):
        assert ask_again().startswith("shop-")
        with exchanged(laptop, "plain", "--expose=7004:name"):
            until(lambda: ask_again() == socket.gethostname(), SECONDS, "the program")
        until(lambda: ask_again().startswith("shop-"), SECONDS, "the pods")


@contextmanager
def asking(lab, address):
    """A way to ask who answers datagrams, always from the same port; "" is nobody."""

    def opened():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(1)
        client.connect((address, NAME_UDP))
        return client

    with namespaces.call_inside(lab.layout.node_net, opened) as client:

        def ask_again():
            with suppress(OSError):
                client.send(b"hello")
                return client.recv(1 << 16).split()[0].decode()
            return ""

        yield ask_again
