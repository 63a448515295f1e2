"""Whoever may only run commands in a pod connects by that, and leaves nothing in it."""

from __future__ import annotations

import json
import os
import signal

import pytest

from lab import settings
from tests import documented
from tests.e2e import objects, workloads
from tests.e2e.test_rights import who_answers
from tests.e2e.tow import END_SECONDS, connected, starting
from tests.e2e.waiting import until

HOST = "e2e-host"
AGENT = 6
CONTAINERS = [
    {"name": "bare", "image": settings.PAUSE_IMAGE},
    workloads.container(HOST, securityContext={"readOnlyRootFilesystem": True}),
]


@pytest.fixture(scope="module", autouse=True)
def host(lab):
    """A pod whose first container has nothing, the second Python, and who may use just that."""
    pod = workloads.pod(HOST, namespace="team-a", containers=CONTAINERS)
    rules = [{**rule, "resourceNames": [HOST]} for rule in documented.rules("connect --via POD")]
    with (
        workloads.standing(lab, pod),
        objects.user(lab, "guest", rules, namespace="team-a"),
    ):
        yield


@pytest.fixture(autouse=True)
def trace(host, no_trace):
    return no_trace


@pytest.fixture
def guest(lab, laptop):
    """The arguments that make one that user."""
    file = laptop.input("guest", lab.kubeconfig("guest").read_text())
    return ["-c", file, "-n", "team-a", "--via", HOST]


def programs(lab):
    """What runs in the pod."""
    uid = lab.kubectl_json("pod", HOST, "-n", "team-a")["metadata"]["uid"]
    return objects.processes_of_pod(uid)


def is_restarted(lab):
    """Whether the cluster knows that the program has ended once, and is back."""
    statuses = lab.kubectl_json("pod", HOST, "-n", "team-a")["status"]["containerStatuses"]
    return any(each["restartCount"] == 1 and each["ready"] for each in statuses)


def test_services_are_reached_by_a_pod_that_is_there(lab, laptop, guest):
    before = programs(lab)
    with connected(laptop, *guest, "--container", "app") as session:
        assert session.ready()["agent"] == HOST
        assert objects.agents(lab) == []
        (mine,) = json.loads(laptop.run(laptop.tow, "list", "-n", "team-a", "-o", "json").stdout)
        assert (mine["command"], mine["mode"], mine["agent"]) == ("connect", "via", HOST)
        assert laptop.run(laptop.tow, "list", "-n", "default", "-o", "json").stdout == "[]\n"
        for family in ("-4", "-6"):
            assert who_answers(laptop, "http://web", family) == "team-web"
            assert who_answers(laptop, "http://web.other-ns", family) == "other-web"
        assert len(programs(lab)) > len(before)
    until(lambda: programs(lab) == before, END_SECONDS, "the pod to be as it was")


def test_killed_session_leaves_nothing_in_the_pod(lab, laptop, guest):
    before = programs(lab)
    with starting(laptop, *guest, "--container", "app") as session:
        session.ready()
        session.process.kill()
        session.end()
    until(lambda: programs(lab) == before, END_SECONDS, "the pod to be as it was")


def test_agent_runs_anew_in_a_container_that_is_restarted(lab, laptop, guest, trace):
    (program,) = programs(lab)
    with connected(laptop, *guest, "--container", "app") as session:
        os.kill(program, signal.SIGKILL)
        session.event("reconnecting")
        session.event("reconnected")
        # The restart is none of the session's; the kubelet tells of it in its own time.
        until(lambda: is_restarted(lab), END_SECONDS, "the cluster to know of the restart")
        trace.allow_new_pods()
        assert who_answers(laptop, "http://web") == "team-web"


def test_container_without_python_is_refused(laptop, guest):
    with starting(laptop, *guest) as session:
        error = session.error()
    assert error["exit_code"] == AGENT
    assert "There is no Python in the container bare" in error["summary"]
    assert "--container" in error["hint"]
