"""Ports of the laptop that lead straight to pods, without an agent, for whoever may make no Job."""

from __future__ import annotations

import json
import socket

import pytest

from tests import documented
from tests.e2e import objects
from tests.e2e.broken import NAMESPACE, as_user
from tests.e2e.test_forward import ACCESS_ERROR, USAGE_ERROR, is_reset, local, says
from tests.e2e.tow import connected, starting
from tests.e2e.waiting import until
from tests.e2e.workloads import pods_of, standing, workload

REQUEST = b"GET / HTTP/1.0\r\nHost: x\r\n\r\n"

pytestmark = pytest.mark.usefixtures("no_trace")


def forwarding(laptop, *arguments):
    return starting(laptop, *arguments, "--no-agent", command="forward")


def forwarded(laptop, *arguments):
    return connected(laptop, *arguments, "--no-agent", command="forward")


def test_several_ports_lead_to_a_pod_and_the_truth_is_told_of_each(lab, laptop):
    ports = ("0:8080", "0:7000", "0:7003", "0:7999")
    with forwarded(laptop, "sample", *ports) as session:
        assert session.ready()["agent"] == ""
        assert lab.kubectl_json("jobs")["items"] == []
        (mine,) = json.loads(laptop.run(laptop.tow, "list", "-A", "-o", "json").stdout)
        assert (mine["target"], mine["mode"]) == ("svc/sample", "no agent")
        assert b'"name": "sample"' in says(laptop, local(session, 0), REQUEST)
        words = b"abc" * (1 << 20)
        with laptop.connect_to(*local(session, 1)) as client:
            client.sendall(words)
            answer = b""
            while len(answer) < len(words):
                answer += client.recv(1 << 16)
            assert answer == words
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b"", "there is no half-close: the echo is not told"
        assert is_reset(laptop, local(session, 2))
        assert is_reset(laptop, local(session, 3))
        assert session.event("unreachable")["remote"] == 7999
        assert "7999" in session.event("unreachable")["message"]


def test_pods_are_followed_as_they_are_replaced(lab, laptop):
    with standing(lab, workload("Deployment", "followed", replicas=1)):
        with forwarded(laptop, "deploy/followed", "0:http") as session:
            (first,) = pods_of(lab, "followed")
            name = first["metadata"]["name"]
            assert session.ready()["pod"] == name
            assert name.encode() in says(laptop, local(session), REQUEST)
            lab.kubectl("delete", "pod", name, "--wait=false")

            def moved():
                return [each["pod"] for each in session.events if each["event"] == "moved"][-1:]

            until(lambda: any(moved()) and moved() != [name], 60, "another pod")
            assert moved()[0].encode() in says(laptop, local(session), REQUEST)
            lab.kubectl("scale", "deploy/followed", "--replicas=0")
            until(lambda: moved() == [""], 60, "no pod")
            assert is_reset(laptop, local(session))
            assert "no pod" in session.event("unreachable")["reason"]


@pytest.mark.parametrize(
    "arguments", [("db.internal:5432",), ("sample", "7001/udp"), ("sample", "--via=x", "80")]
)
def test_what_only_an_agent_can_do_is_refused(laptop, arguments):
    with forwarding(laptop, *arguments) as session:
        error = session.error()
        assert error["exit_code"] == USAGE_ERROR
        assert "agent" in error["summary"]


def test_killed_session_leaves_nothing(laptop):
    with forwarding(laptop, "sample", "0:8080") as session:
        session.ready()
        session.process.kill()
        session.end()


def test_documented_rights_are_enough_and_a_missing_one_is_named(lab, laptop):
    rules = documented.rules("forward", 1)
    assert not any("jobs" in rule["resources"] for rule in rules)
    with objects.user(lab, "forwards-agentless", rules, NAMESPACE):
        who = as_user(lab, laptop, "forwards-agentless")
        for target in ("web", "deploy/web"):
            with forwarded(laptop, target, "0:http" if "/" in target else "0:80", *who) as session:
                assert b'"name": "team-web"' in says(laptop, local(session), REQUEST)
    with objects.user(lab, "forwards-not", rules[:1] + rules[2:], NAMESPACE):
        with forwarding(laptop, "web", "0:80", *as_user(lab, laptop, "forwards-not")) as session:
            error = session.error()
            assert error["exit_code"] == ACCESS_ERROR
            assert "portforward" in error["summary"]
