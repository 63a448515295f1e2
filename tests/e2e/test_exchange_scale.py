"""A workload without pods meanwhile, whose traffic programs of the laptop answer."""

from __future__ import annotations

import signal
import socket
from contextlib import contextmanager

import pytest

from lab import namespaces
from tests import documented
from tests.e2e import objects
from tests.e2e.applications import local_application, name_of_answer
from tests.e2e.cutting import AFTER, cut_at_each_write
from tests.e2e.load import load
from tests.e2e.tow import GRACE_SECONDS, connected, starting
from tests.e2e.waiting import until
from towline.agent import undo

NAMESPACE = "e2e-scale"
# More than the originals have to come up, on a busy machine.
BACK_SECONDS = 60
# Their pods go on for so long, as pods do that want to lose nothing.
LINGER_SECONDS = 4
USAGE_ERROR = 2
ACCESS_ERROR = 5
SESSION_ERROR = 8
AGENT_RULES = [*documented.rules("connect"), *documented.rules("exchange --mode scale")]
MAKING_ROLES = ("serviceaccounts", "roles", "rolebindings")


def workload(kind, name, replicas=2, **spec):
    labels = {"app": name, "app.kubernetes.io/name": name}
    container = {
        "name": "app",
        "image": "localhost/towline/sample:1",
        "env": [{"name": "NAME", "value": name}],
        "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 7000}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": LINGER_SECONDS}}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 10, "containers": [container]},
            },
            **spec,
        },
    }


def worker():
    """It has no ports, and no service: it would take its work from a queue."""
    made = workload("Deployment", "worker", 1)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    for key in ("ports", "readinessProbe"):
        del container[key]
    return made


def service(name):
    made = objects.service(name, NAMESPACE, name, ipFamilyPolicy="PreferDualStack")
    # By a label of which the agent has another value by itself.
    made["spec"]["selector"] = {"app": name, "app.kubernetes.io/name": name}
    made["spec"]["ports"] = [{"port": 80, "targetPort": "http"}]
    return made


@pytest.fixture(scope="module", autouse=True)
def workloads(lab):
    there = (
        workload("Deployment", "shop"),
        service("shop"),
        workload("StatefulSet", "store", serviceName="store", podManagementPolicy="Parallel"),
        service("store"),
        worker(),
    )
    with objects.namespace(lab, NAMESPACE, *there):
        for each in ("deploy/shop", "sts/store", "deploy/worker"):
            kubectl(lab, "rollout", "status", each, "--timeout=120s")
        for name in ("shop", "store"):
            until(lambda name=name: answerer(lab, name) == name, BACK_SECONDS, f"{name} to answer")
        yield


@pytest.fixture(autouse=True)
def trace(workloads, no_trace):
    """What is scaled down and up again has other pods."""
    no_trace.allow_new_pods()
    no_trace.cluster_seconds = BACK_SECONDS
    return no_trace


def kubectl(lab, *words):
    return lab.kubectl(*words, "-n", NAMESPACE)


def exchanging(laptop, target, *arguments):
    return starting(laptop, target, "--mode=scale", "-n", NAMESPACE, *arguments, command="exchange")


def exchanged(laptop, target, *arguments):
    return connected(
        laptop, target, "--mode=scale", "-n", NAMESPACE, *arguments, command="exchange"
    )


def answerer(lab, name, family=4):
    address = objects.addresses_of_service(lab, name, NAMESPACE)[family == 6]
    return name_of_answer(lab, address, 80)


def originals(lab, name):
    """The workload's own pods, those that are ending included."""
    pods = lab.kubectl_json("pods", "-n", NAMESPACE, "-l", f"app={name},!towline/agent")["items"]
    return [each["metadata"]["name"] for each in pods]


def state(lab, what):
    """Its number of replicas, and the record that it carries."""
    found = lab.kubectl_json(what, "-n", NAMESPACE)
    return found["spec"]["replicas"], undo.of(found)


@contextmanager
def led_here(lab, laptop, target, *arguments):
    """A session that a program answers for."""
    name = target.partition("/")[2]
    with local_application(laptop, offset=1000) as port:
        with exchanging(laptop, target, f"--expose={port}:http", *arguments) as session:
            session.ready()
            until(lambda: answerer(lab, name) == "here", BACK_SECONDS, "it to be led here")
            yield session


@pytest.mark.parametrize("target", ["deploy/shop", "sts/store"])
def test_program_here_answers_while_the_originals_do_not_run(lab, laptop, target):
    name = target.partition("/")[2]
    before = originals(lab, name)
    with led_here(lab, laptop, target) as session:
        replicas, record = state(lab, target)
        assert (replicas, record.replicas) == (0, 2)
        assert "root@" in record.owner
        until(lambda: not originals(lab, name), BACK_SECONDS, "the original pods to be gone")
        assert {answerer(lab, name, family) for family in (4, 6)} == {"here"}
        session.interrupt()
        assert session.end(BACK_SECONDS) == 0
    assert state(lab, target) == (2, None)
    assert answerer(lab, name) == name
    assert target == "sts/store" or not set(before) & set(originals(lab, name))


def test_no_request_is_lost_at_either_switch(lab, laptop):
    address = objects.addresses_of_service(lab, "shop", NAMESPACE)[0]
    with load(lab, address, 80) as under, led_here(lab, laptop, "deploy/shop") as session:
        until(lambda: not originals(lab, "shop"), BACK_SECONDS, "the original pods to be gone")
        under.await_answer("here")
        session.interrupt()
        assert session.end(BACK_SECONDS) == 0
        under.await_answer("shop")
        under.await_more(500)
    assert under.failures == []
    assert set(under.answers) == {"here", "shop"}


def test_killed_session_is_undone_by_the_agent(lab, laptop, trace):
    with led_here(lab, laptop, "deploy/shop") as session:
        session.process.kill()
        session.end()
    until(lambda: state(lab, "deploy/shop") == (2, None), GRACE_SECONDS + 30, "it to be undone")
    until(lambda: answerer(lab, "shop") == "shop", BACK_SECONDS, "the originals to answer")


@pytest.fixture
def scaled_back(lab, trace):
    """Somebody scales it here; afterwards it is as it was."""
    yield
    kubectl(lab, "scale", "deploy/shop", "--replicas=2")


@pytest.mark.usefixtures("scaled_back")
def test_somebody_elses_scale_is_told_and_left(lab, laptop):
    with led_here(lab, laptop, "deploy/shop") as session:
        kubectl(lab, "scale", "deploy/shop", "--replicas=3")
        error = session.error(BACK_SECONDS)
        assert error["exit_code"] == SESSION_ERROR
        assert "deploy/shop was changed by kubectl" in error["summary"]
    assert state(lab, "deploy/shop") == (3, None)


@pytest.mark.usefixtures("scaled_back")
def test_killed_session_undoes_nobodys_scale(lab, laptop):
    with led_here(lab, laptop, "deploy/shop", "--grace=10") as session:
        session.process.kill()
        session.end()
        kubectl(lab, "scale", "deploy/shop", "--replicas=3")
    until(lambda: state(lab, "deploy/shop")[1] is None, 60, "the record to be gone")
    assert state(lab, "deploy/shop") == (3, None)


def test_second_user_is_refused_and_may_take_over(lab, laptop):
    with led_here(lab, laptop, "deploy/shop") as first:
        _, record = state(lab, "deploy/shop")
        with exchanging(laptop, "deploy/shop") as second:
            error = second.error()
            assert error["exit_code"] == SESSION_ERROR
            assert record.owner in error["summary"]
            assert record.since in error["summary"]
        with local_application(laptop, "taker", 2000) as port:
            with exchanging(laptop, "deploy/shop", f"--expose={port}:8080", "--force") as second:
                second.ready()
                assert "taken over by root@" in first.error(BACK_SECONDS)["summary"]
                until(lambda: answerer(lab, "shop") == "taker", BACK_SECONDS, "it to take over")
                replicas, taken = state(lab, "deploy/shop")
                assert (replicas, taken.replicas) == (0, 2)
                assert taken.job != record.job
                second.interrupt()
                assert second.end(BACK_SECONDS) == 0
    assert state(lab, "deploy/shop") == (2, None)


def test_agents_new_pod_is_led_to(lab, laptop):
    with led_here(lab, laptop, "deploy/shop", "--grace=60") as session:
        lost, seen = session.ready()["agent"], len(session.events)
        kubectl(lab, "delete", "pod", lost, "--wait=false")
        session.event("reconnected", after=seen)
        until(lambda: answerer(lab, "shop") == "here", BACK_SECONDS, "it to be led here again")
        session.interrupt()
        assert session.end(BACK_SECONDS) == 0


def test_connections_are_reset_while_no_program_listens(lab, laptop):
    with exchanged(laptop, "deploy/shop", "--expose=9999:http") as session:
        assert "connections are reset" in session.event("unserved")["message"]
        until(lambda: not originals(lab, "shop"), BACK_SECONDS, "the original pods to be gone")
        assert is_reset(lab, objects.addresses_of_service(lab, "shop", NAMESPACE)[0])


def is_reset(lab, address):
    def inside():
        with socket.create_connection((address, 80), 5) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return client.recv(1)

    with pytest.raises(ConnectionResetError):
        namespaces.call_inside(lab.layout.node_net, inside)
    return True


def test_workload_without_ports_is_stopped(lab, laptop):
    with exchanged(laptop, "deploy/worker") as session:
        assert session.ready()["exposed"] == []
        assert "has no ports" in session.event("note")["message"]
        until(lambda: not originals(lab, "worker"), BACK_SECONDS, "its pod to be gone")
    assert state(lab, "deploy/worker") == (1, None)


def test_autoscaler_rests_meanwhile(lab, laptop):
    with objects.applied(lab, autoscaler("shop")), exchanged(laptop, "deploy/shop") as session:
        assert "HorizontalPodAutoscaler shop rests" in session.event("note")["message"]
        until(lambda: is_disabled(lab, "shop"), BACK_SECONDS, "it to be disabled")
        assert state(lab, "deploy/shop")[0] == 0


def autoscaler(name):
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 2,
            "maxReplicas": 4,
            "metrics": [{"type": "Resource", "resource": cpu}],
        },
    }


def is_disabled(lab, name):
    status = lab.kubectl_json("hpa", name, "-n", NAMESPACE).get("status", {})
    return any(each["reason"] == "ScalingDisabled" for each in status.get("conditions", ()))


@pytest.mark.parametrize("target", ["svc/shop", "ds/shop", "pod/shop"])
def test_what_has_no_scale_is_refused(laptop, target):
    with exchanging(laptop, target) as session:
        error = session.error()
        assert error["exit_code"] == USAGE_ERROR
        assert target in error["summary"]
        assert error["hint"]


# A dozen sessions one after the other, each with a workload that comes back.
@pytest.mark.timeout(900)
def test_killed_after_each_write(laptop, trace):
    trace.cluster_seconds = GRACE_SECONDS + BACK_SECONDS
    cut = []
    arguments = ("deploy/shop", "--mode=scale", "-n", NAMESPACE, "--expose=9999:http")
    for write in cut_at_each_write(laptop, AFTER, *arguments, command="exchange"):
        trace.check_cluster()
        cut.append(write.kind)
    assert cut.count("PATCH deployments") >= 2
    assert cut.count("PATCH pods") == 2


@pytest.fixture(scope="module")
def users(lab, workloads):
    without_roles = [rule for rule in AGENT_RULES if not set(MAKING_ROLES) & set(rule["resources"])]
    without_pods = [rule for rule in AGENT_RULES if rule["verbs"] != ["patch"]]
    with (
        objects.user(lab, "scales-only", AGENT_RULES, namespace=NAMESPACE),
        objects.user(lab, "makes-no-roles", without_roles, namespace=NAMESPACE),
        objects.user(lab, "patches-no-pods", without_pods, namespace=NAMESPACE),
    ):
        yield


def as_user(lab, laptop, name):
    return ("-c", laptop.input(name, lab.kubeconfig(name).read_text()))


def test_documented_rights_are_enough(users, lab, laptop, trace):
    with led_here(lab, laptop, "deploy/shop", *as_user(lab, laptop, "scales-only")) as session:
        assert not any(event["event"] == "note" for event in session.events)
        session.process.kill()
        session.end()
    until(lambda: state(lab, "deploy/shop") == (2, None), GRACE_SECONDS + 30, "it to be undone")


def test_who_may_not_make_roles_is_told_and_others_may_recover_it(users, lab, laptop, trace):
    who = as_user(lab, laptop, "makes-no-roles")
    with led_here(lab, laptop, "deploy/shop", *who) as session:
        assert "tow recover deploy/shop" in session.event("note")["message"]
        session.process.kill()
        session.end()
    until(lambda: not objects.agents(lab), GRACE_SECONDS + 30, "the agent to be gone")
    assert state(lab, "deploy/shop")[0] == 0
    done = laptop.run(laptop.tow, "recover", "deploy/shop", "-n", NAMESPACE)
    assert done.returncode == 0, done.stderr
    assert state(lab, "deploy/shop") == (2, None)


def test_right_that_is_missing_is_named(users, lab, laptop, trace):
    who = as_user(lab, laptop, "patches-no-pods")
    with exchanging(laptop, "deploy/shop", *who) as session:
        error = session.error()
        assert error["exit_code"] == ACCESS_ERROR
        assert "patch pods" in error["summary"]


def test_interrupted_twice_ends_at_once_and_is_undone(lab, laptop):
    with led_here(lab, laptop, "deploy/shop") as session:
        until(lambda: not originals(lab, "shop"), BACK_SECONDS, "the original pods to be gone")
        session.interrupt()
        session.told("pods are ready")
        session.interrupt()
        assert session.end() == 128 + signal.SIGINT
    until(lambda: answerer(lab, "shop") == "shop", BACK_SECONDS, "the originals to answer")
