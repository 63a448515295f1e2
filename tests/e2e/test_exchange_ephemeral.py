"""Pods whose requests a program of the laptop answers, by an agent in each of them."""

from __future__ import annotations

import pytest

from tests import documented
from tests.e2e import objects
from tests.e2e.answering import program
from tests.e2e.exchanging import REQUEST, answerer, await_answerer, exchanged, exchanging
from tests.e2e.listening import listener
from tests.e2e.tow import GRACE_SECONDS, connected
from tests.e2e.waiting import until
from tests.e2e.workloads import pod, pods_of, service, standing, workload
from towline.cluster.tenants import tenants

USAGE_ERROR = 2
ACCESS_ERROR = 5
AGENT_ERROR = 6
SESSION_ERROR = 8
INTERRUPTED = 130

pytestmark = pytest.mark.usefixtures("no_trace")


@pytest.fixture(scope="module", autouse=True)
def shop(lab):
    """Two pods of a Deployment, one of a StatefulSet, one of a DaemonSet, one of nobody's."""
    made = [
        workload("Deployment", "shop"),
        workload("StatefulSet", "stock", replicas=1),
        workload("DaemonSet", "guard"),
        pod("single"),
        pod("inhost", offset=1000, hostNetwork=True),
        *(service(name) for name in ("shop", "stock", "guard", "single")),
    ]
    with standing(lab, *made):
        yield


def is_ready(pod):
    conditions = {each["type"]: each["status"] for each in pod["status"]["conditions"]}
    return conditions.get("Ready") == "True"


def redirected(lab, app="shop"):
    """The pods in which an agent runs."""
    return [
        each["metadata"]["name"]
        for each in pods_of(lab, app)
        for status in each["status"].get("ephemeralContainerStatuses", ())
        if "running" in status["state"]
    ]


def test_all_pods_answer_from_here_also_at_their_own_addresses(lab, laptop):
    with program(laptop) as here:
        with exchanged(laptop, "deploy/shop", f"--expose={here.port}:http") as session:
            assert "finished" in session.event("note")["message"]
            assert session.ready()["mode"] == "ephemeral"
            for each in pods_of(lab, "shop"):
                for address in objects.addresses_of_pod(lab, each["metadata"]["name"]):
                    assert answerer(lab, address, 8080) == "here"
                    assert answerer(lab, address, 8081) == "shop"
            await_answerer(lab, "here", "shop")
        assert answerer(lab, address, 8080) == "shop"
        await_answerer(lab, "shop", "shop")


def test_probes_of_the_kubelet_reach_the_pods_own_programs(lab, laptop):
    """The program here does not speak HTTP: a probe that came here would fail at once."""
    with program(laptop) as here, exchanged(laptop, "deploy/shop", f"--expose={here.port}:8080"):
        address, _ = objects.addresses_of_pod(lab, pods_of(lab, "shop")[0]["metadata"]["name"])
        for _ in range(200):
            assert answerer(lab, address, 8080) == "here"
            assert all(is_ready(each) for each in pods_of(lab, "shop"))


@pytest.mark.parametrize(
    ("target", "name"),
    [("sts/stock", "stock"), ("ds/guard", "guard"), ("pod/single", "single")],
)
def test_other_kinds_of_workload(lab, laptop, target, name):
    with program(laptop) as here, exchanged(laptop, target, f"--expose={here.port}:8080"):
        await_answerer(lab, "here", name)


def test_pods_of_a_service_by_its_own_ports(lab, laptop):
    with program(laptop) as here:
        arguments = ("svc/shop", f"--expose={here.port}:80", "--mode=ephemeral")
        with exchanged(laptop, *arguments) as session:
            assert session.ready()["exposed"][0]["remote"] == 80
            await_answerer(lab, "here", "shop")


def test_pods_answer_while_no_program_listens(lab, laptop):
    with program(laptop) as free:
        port = free.port
    with exchanged(laptop, "deploy/shop", f"--expose={port}:8080") as session:
        session.event("unserved")
        await_answerer(lab, "shop", "shop")
        with program(laptop, "late", port):
            session.event("served")
            await_answerer(lab, "late", "shop")


def test_pod_that_comes_later_is_taken_too(lab, laptop, no_trace):
    no_trace.allow_new_pods()
    with program(laptop) as here:
        with exchanged(laptop, "deploy/shop", f"--expose={here.port}:8080") as session:
            first = session.ready()["agent"].split(",")
            lab.kubectl("delete", "pod", first[0], "--wait=false")

            def new():
                ready = [
                    each["metadata"]["name"] for each in pods_of(lab, "shop") if is_ready(each)
                ]
                return [name for name in ready if name not in first]

            (name,) = until(new, 30, "another pod")
            address, _ = objects.addresses_of_pod(lab, name)
            until(lambda: answerer(lab, address, 8080) == "here", 30, "it to be taken")


def test_killed_session_is_replaced_at_once_and_its_redirects_go(lab, laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    with program(laptop) as here:
        with exchanging(laptop, "deploy/shop", f"--expose={here.port}:8080") as session:
            session.ready()
            address, _ = objects.addresses_of_pod(lab, pods_of(lab, "shop")[0]["metadata"]["name"])
            assert answerer(lab, address, 8080) == "here"
            session.process.kill()
            session.end()
            until(lambda: answerer(lab, address, 8080) == "shop", 10, "the pod to answer")
    until(lambda: not redirected(lab), 30, "the agents to be gone")
    assert answerer(lab, address, 8080) == "shop"


def test_the_same_again_at_once_does_not_wait_for_what_is_left_of_the_first(lab, laptop):
    """Its agent drains for some seconds."""
    arguments = ("pod/single", "--expose=1:8080")
    with exchanged(laptop, *arguments):
        pass
    with exchanged(laptop, *arguments) as second:
        second.ready()


def test_second_session_is_refused_with_the_first_ones_name_unless_it_takes_over(lab, laptop):
    with program(laptop, "one") as one, program(laptop, "two") as two:
        with exchanging(laptop, "deploy/shop", f"--expose={one.port}:8080", "--grace=30") as first:
            first.ready()
            again = ("deploy/shop", f"--expose={two.port}:8080")
            with exchanging(laptop, *again) as second:
                error = second.error()
                assert error["exit_code"] == SESSION_ERROR
                assert "@" in error["summary"]
            await_answerer(lab, "one", "shop")
            with exchanged(laptop, *again, "--force"):
                await_answerer(lab, "two", "shop")
                assert "taken over" in first.error()["summary"]
                await_answerer(lab, "two", "shop")
    until(lambda: not redirected(lab), 40, "the agents to be gone")


def test_session_that_is_interrupted_while_it_starts_leaves_no_agent_to_wait_for_it(lab, laptop):
    with exchanging(laptop, "deploy/shop", "--expose=1:8080", "--grace=300") as session:
        session.told("Waiting for the node")
        session.interrupt()
        assert session.end() in (0, INTERRUPTED)
    until(lambda: not any(map(tenants, pods_of(lab, "shop"))), 30, "the agents to be gone")


def test_pod_of_nobody_that_is_deleted_ends_it(lab, laptop):
    with standing(lab, pod("brief")):
        with exchanging(laptop, "pod/brief", "--expose=1:8080") as session:
            session.ready()
            lab.kubectl("delete", "pod", "brief", "--wait=false")
            assert session.error()["exit_code"] == AGENT_ERROR


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("pod/inhost",), USAGE_ERROR, "node's network"),
        (("deploy/shop", "--expose=1:nothing"), USAGE_ERROR, "nothing"),
        (("svc/empty", "--mode=ephemeral"), USAGE_ERROR, "no pod that runs"),
        (("svc/blackhole", "--mode=ephemeral"), USAGE_ERROR, "no selector"),
        (("ds/guard", "--mode=selector"), USAGE_ERROR, "selector"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_changed(laptop, arguments, code, words):
    with exchanging(laptop, *arguments) as session:
        error = session.error()
        assert error["exit_code"] == code
        assert words in error["summary"]


@pytest.fixture(scope="module")
def just_enough(lab, shop):
    rules = documented.rules("exchange --mode ephemeral")
    with objects.user(lab, "in-pods", rules), objects.user(lab, "not-in-pods", rules[:2]):
        yield


def acting_as(lab, laptop, name):
    return ("-c", laptop.input(name, lab.kubeconfig(name).read_text()), "-n", "default")


def test_documented_rights_are_enough(just_enough, lab, laptop, no_trace):
    with program(laptop) as here:
        who = acting_as(lab, laptop, "in-pods")
        with exchanged(laptop, "deploy/shop", f"--expose={here.port}:8080", *who):
            await_answerer(lab, "here", "shop")


def test_right_that_is_missing_is_named(just_enough, lab, laptop, no_trace):
    with exchanging(laptop, "deploy/shop", *acting_as(lab, laptop, "not-in-pods")) as session:
        error = session.error()
        assert error["exit_code"] == ACCESS_ERROR
        assert "patch pods/ephemeralcontainers" in error["summary"]


def test_mirror_gets_copies_and_the_pods_answer(lab, laptop):
    with listener(laptop) as here:
        with connected(laptop, "pod/single", f"--expose={here.port}:8080", command="mirror"):
            address, _ = objects.addresses_of_pod(lab, "single")
            assert answerer(lab, address, 8080) == "single"
            # A look whether the program listens is no request.
            while (said := here.heard.get(timeout=20)) in (None, b""):
                pass
            assert said == REQUEST


RESTRICTED = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_restricted_namespace_says_what_is_not_allowed_and_what_is(lab, laptop):
    made = pod("modest", namespace="restricted", securityContext=RESTRICTED)
    made["spec"]["containers"][0]["securityContext"] = CONTAINER
    with standing(lab, made):
        with exchanging(laptop, "pod/modest", "-n", "restricted") as session:
            error = session.error()
            assert error["exit_code"] == ACCESS_ERROR
            assert "NET_ADMIN" in error["summary"]
            assert "--mode selector" in error["hint"]
