"""The product where Istio demands mutual TLS: agents have sidecars as the pods around them."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest

from tests.e2e import answering, objects
from tests.e2e.applications import local_application
from tests.e2e.istio.meshed import NAMESPACE
from tests.e2e.tow import GRACE_SECONDS, connected, starting

REQUEST = b"GET / HTTP/1.0\r\n\r\n"
IN_NAMESPACE = ("-n", NAMESPACE)


@pytest.fixture(autouse=True)
def trace(meshed, no_trace):
    return no_trace


DESTINATION = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "DestinationRule",
    "metadata": {"name": "web", "namespace": NAMESPACE},
    "spec": {
        "host": "web",
        "subsets": [
            {"name": "stable", "labels": {"version": "v1"}},
            {"name": "ada", "labels": {"version": "ada"}},
        ],
    },
}
ROUTES = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "web", "namespace": NAMESPACE},
    "spec": {
        "hosts": ["web"],
        "http": [
            {
                "match": [{"headers": {"x-user": {"exact": "ada"}}}],
                "route": [{"destination": {"host": "web", "subset": "ada"}}],
            },
            {"route": [{"destination": {"host": "web", "subset": "stable"}}]},
        ],
    },
}


def exchanged(laptop, target, *arguments):
    return connected(laptop, target, *IN_NAMESPACE, *arguments, command="exchange")


def restarts(pod):
    return {each["name"]: each["restartCount"] for each in pod["status"]["containerStatuses"]}


def is_served_outside_of_the_mesh(lab, address, port=80):
    return answering.answers(lab, address, port, REQUEST).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("name", ["web", "old"])
def test_service_comes_here_by_mutual_tls_and_goes_on_to_the_originals(lab, laptop, meshed, name):
    (address,) = objects.addresses_of_service(lab, name, NAMESPACE)
    assert not is_served_outside_of_the_mesh(lab, address)
    with ExitStack() as here:
        here.enter_context(local_application(laptop))
        with exchanged(laptop, name, "--expose=8080:80"):
            meshed.await_answerer("here", name)
            (agent,) = meshed.pods("towline/role=exchange")
            assert not is_served_outside_of_the_mesh(lab, agent["status"]["podIP"], 8080)
            here.close()
            meshed.await_answerer(name, name)
    meshed.await_answerer(name, name)


def test_agent_whose_session_is_gone_puts_the_service_back_through_its_sidecar(
    laptop, meshed, trace
):
    trace.allow_grace(GRACE_SECONDS)
    with starting(laptop, "web", *IN_NAMESPACE, "--expose=8080:80", command="exchange") as session:
        session.ready()
        session.process.kill()
    meshed.await_answerer("web", "web")


def test_workload_that_is_stopped_has_an_agent_in_the_mesh_in_its_place(laptop, meshed, trace):
    trace.allow_new_pods()
    trace.cluster_seconds = 60
    with local_application(laptop):
        with exchanged(laptop, "deploy/old", "--mode=scale", "--expose=8080:http"):
            meshed.await_answerer("here", "old")
        meshed.await_answerer("old", "old")


def test_connection_with_a_sidecar_reaches_what_demands_mutual_tls(laptop, meshed):
    with connected(laptop, *IN_NAMESPACE, "--inject"):
        asked = laptop.run("curl", "-sS", "-m", "10", "http://web")
        assert json.loads(asked.stdout)["name"] == "web"


def test_connection_without_one_does_not(laptop, meshed):
    with connected(laptop, *IN_NAMESPACE) as session:
        assert "--inject" in session.event("note")["hint"]
        asked = laptop.run("curl", "-sS", "-m", "10", "http://web")
        assert "reset by peer" in asked.stderr


@pytest.mark.parametrize("name", ["web", "old"])
def test_pods_are_held_behind_their_sidecars(lab, laptop, meshed, name):
    before = [restarts(pod) for pod in meshed.pods(f"app={name}")]
    # From now on the sidecars have connections that they would go on to use.
    meshed.await_answerer(name, name)
    with ExitStack() as here:
        here.enter_context(local_application(laptop))
        with exchanged(laptop, f"deploy/{name}", "--mode=ephemeral", "--expose=8080:http"):
            meshed.await_answerer("here", name)
            for pod in meshed.pods(f"app={name}"):
                assert not is_served_outside_of_the_mesh(lab, pod["status"]["podIP"], 8080)
            here.close()
            meshed.await_answerer(name, name)
    meshed.await_answerer(name, name)
    assert [restarts(pod) for pod in meshed.pods(f"app={name}")] == before


@pytest.mark.parametrize("name", ["web", "old"])
def test_requests_that_a_rule_tells_come_here_and_others_go_to_the_originals(laptop, meshed, name):
    arguments = (name, *IN_NAMESPACE, "--match=header:x-user=ada", "--expose=8080:80")
    with local_application(laptop), connected(laptop, *arguments, command="mesh"):
        meshed.await_answerer("here", name, "x-user:ada")
        meshed.await_answerer(name, name)
    meshed.await_answerer(name, name, "x-user:ada")


def test_pod_with_a_version_mark_gets_what_the_meshs_rules_lead_there(lab, laptop, meshed):
    mark = ("--mode=manual", "--version-mark=version:ada")
    arguments = ("deploy/web", *IN_NAMESPACE, *mark, "--expose=8080")
    with objects.applied(lab, DESTINATION, ROUTES), local_application(laptop):
        with connected(laptop, *arguments, command="mesh") as session:
            assert "version: ada" in session.ready()["message"]
            meshed.await_answerer("here", "web", "x-user:ada")
            meshed.await_answerer("web", "web")
