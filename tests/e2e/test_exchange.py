"""A service's requests answered by a program of the laptop, and by nobody else's loss."""

from __future__ import annotations

import json
import signal
import socket

import pytest

from lab import namespaces
from tests.e2e import objects
from tests.e2e.answering import ask, program
from tests.e2e.exchanging import answerer, await_answerer, exchanged, exchanging
from tests.e2e.outage import SILENCE, outage
from tests.e2e.tow import GRACE_SECONDS
from tests.e2e.waiting import until

USAGE_ERROR = 2
AGENT_ERROR = 6
SESSION_ERROR = 8

pytestmark = pytest.mark.usefixtures("no_trace")


def service_of(lab, name="web", namespace="default"):
    return lab.kubectl_json("service", name, "-n", namespace)


def is_put_back(lab):
    return "towline/agent" not in service_of(lab)["spec"]["selector"]


def test_program_answers_over_both_families_and_the_pods_afterwards(lab, laptop):
    with program(laptop) as here:
        with exchanged(laptop, "web", f"--expose={here.port}:80") as session:
            ready = session.ready()
            assert ready["target"] == "svc/web"
            assert f"80 → localhost:{here.port}" in ready["message"]
            await_answerer(lab, "here")
        await_answerer(lab, "web")


def test_service_says_whose_it_is_and_what_it_was(lab, laptop):
    before = service_of(lab)["spec"]
    with exchanged(laptop, "svc/web", "--expose=8080:http"):
        service = service_of(lab)
        record = json.loads(service["metadata"]["annotations"]["towline/interception"])
        assert record["selector"] == before["selector"]
        assert "@" in record["owner"]
        assert service["spec"]["selector"] == {"towline/agent": record["job"]}
    assert service_of(lab)["spec"] == before


def test_pods_answer_while_no_program_listens(lab, laptop):
    with program(laptop) as free:
        port = free.port
    with exchanged(laptop, "web", f"--expose={port}:80") as session:
        assert str(port) in session.event("unserved")["message"]
        await_answerer(lab, "web")
        with program(laptop, "late", port):
            session.event("served")
            await_answerer(lab, "late")
        seen = len(session.events)
        await_answerer(lab, "web")
        session.event("unserved", after=seen)


def test_strict_refuses_without_a_program_and_changes_nothing(lab, laptop):
    with program(laptop) as free:
        port = free.port
    before = service_of(lab)["metadata"]["resourceVersion"]
    with exchanging(laptop, "web", f"--expose={port}:80", "--strict") as session:
        assert str(port) in session.error()["summary"]
    assert service_of(lab)["metadata"]["resourceVersion"] == before


def test_ports_that_are_not_exposed_go_on_to_the_pods(lab, laptop):
    with program(laptop) as here, exchanged(laptop, "sample", f"--expose={here.port}:8080"):
        address, _ = objects.addresses_of_service(lab, "sample")
        until(lambda: answerer(lab, address, 8080) == "here", 15, "the program to answer")
        assert ask(lab, address, 7000) == b"hello5 bytes\n"


def test_existing_connections_to_the_pods_stay(lab, laptop):
    address, _ = objects.addresses_of_service(lab, "sample")
    client = namespaces.call_inside(
        lab.layout.node_net, lambda: socket.create_connection((address, 7000), timeout=10)
    )
    with client, program(laptop) as here:
        with exchanged(laptop, "sample", f"--expose={here.port}:8080"):
            until(lambda: answerer(lab, address, 8080) == "here", 15, "the program to answer")
            client.sendall(b"still")
            assert client.recv(100) == b"still"
        client.sendall(b"there")
        assert client.recv(100) == b"there"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nothing", "nothing"),
        ("outside", "outside.example"),
        ("blackhole", "no selector"),
        ("job/x", "job/x"),
    ],
)
def test_what_cannot_be_exchanged_is_refused_with_the_reason(laptop, target, words):
    with exchanging(laptop, target) as session:
        assert words in session.error()["summary"]


def test_port_that_there_is_not_is_refused_with_those_there_are(laptop):
    with exchanging(laptop, "web", "--expose=8080:81") as session:
        error = session.error()
        assert error["exit_code"] == USAGE_ERROR
        assert "80/TCP (http)" in error["hint"]


def test_killed_session_is_replaced_by_the_pods_at_once_and_by_nothing_later(lab, laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    with program(laptop) as here, exchanging(laptop, "web", f"--expose={here.port}:80") as session:
        session.ready()
        await_answerer(lab, "here")
        address, _ = objects.addresses_of_service(lab, "web")
        session.process.kill()
        session.end()
        until(lambda: answerer(lab, address) == "web", 10, "the pods to answer")
        until(
            lambda: "towline/agent" not in service_of(lab)["spec"]["selector"], 20, "the selector"
        )
        await_answerer(lab, "web")


def test_silent_laptop_is_replaced_and_takes_over_again(lab, laptop):
    with program(laptop) as here:
        with exchanged(laptop, "web", f"--expose={here.port}:80", "--grace=60") as session:
            await_answerer(lab, "here")
            address, _ = objects.addresses_of_service(lab, "web")
            seen = len(session.events)
            with outage(laptop, SILENCE):
                until(lambda: answerer(lab, address) == "web", 10, "the pods to answer")
                session.event("reconnecting", after=seen)
            session.event("reconnected", after=seen)
            await_answerer(lab, "here")


def test_laptop_that_comes_back_too_late_is_told(lab, laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    with program(laptop) as here, exchanging(laptop, "web", f"--expose={here.port}:80") as session:
        session.ready()
        session.process.send_signal(signal.SIGSTOP)
        until(
            lambda: "towline/agent" not in service_of(lab)["spec"]["selector"], 40, "the selector"
        )
        until(lambda: not objects.agents(lab), 40, "the agent to be gone")
        session.process.send_signal(signal.SIGCONT)
        assert "svc/web was put back by its agent" in session.error()["summary"]
    await_answerer(lab, "web")


def test_second_session_is_refused_with_the_first_ones_name_and_time(lab, laptop):
    with exchanged(laptop, "web", "--expose=8080:80") as first:
        with exchanging(laptop, "web", "--expose=8081:80") as second:
            error = second.error()
            assert error["exit_code"] == SESSION_ERROR
            record = json.loads(service_of(lab)["metadata"]["annotations"]["towline/interception"])
            assert record["owner"] in error["summary"]
            assert record["since"] in error["summary"]
        assert first.process.poll() is None


def test_forced_session_takes_over_and_the_first_ends_without_a_word_to_the_service(lab, laptop):
    before = service_of(lab)["spec"]
    with program(laptop, "one") as one, program(laptop, "two") as two:
        with exchanging(laptop, "web", f"--expose={one.port}:80") as first:
            first.ready()
            await_answerer(lab, "one")
            with exchanged(laptop, "web", f"--expose={two.port}:80", "--force"):
                assert "taken over" in first.error()["summary"]
                await_answerer(lab, "two")
        await_answerer(lab, "web")
    assert service_of(lab)["spec"] == before


def test_service_that_is_applied_anew_is_left_as_it_is_then(lab, laptop):
    """By kubectl apply, which merges its selector with ours: nothing would match both."""
    manifest = json.loads(
        service_of(lab)["metadata"]["annotations"][
            "kubectl.kubernetes.io/last-applied-configuration"
        ]
    )
    with program(laptop) as here, exchanging(laptop, "web", f"--expose={here.port}:80") as session:
        session.ready()
        await_answerer(lab, "here")
        lab.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
        error = session.error()
        assert error["exit_code"] == SESSION_ERROR
        assert "kubectl" in error["summary"]
        assert service_of(lab)["spec"]["selector"] == {"app": "web"}
        await_answerer(lab, "web")


def test_others_meet_no_conflict_with_us_when_they_apply_it_afterwards(lab, laptop):
    made = objects.service("mine", "default", "web")
    apply = ("apply", "--server-side", "-f", "-")
    lab.kubectl(*apply, stdin=json.dumps(made))
    try:
        with exchanged(laptop, "mine", "--expose=8080:80"):
            pass
        made["spec"]["selector"] = {"app": "db"}
        lab.kubectl(*apply, stdin=json.dumps(made))
    finally:
        lab.kubectl("delete", "service", "mine")


def test_service_that_is_deleted_ends_it(lab, laptop):
    made = objects.service("mine", "default", "web")
    with objects.serving(lab, made), exchanging(laptop, "mine", "--expose=8080:80") as session:
        session.ready()
        lab.kubectl("delete", "service", "mine")
        assert "deleted" in session.error()["summary"]


def test_agents_job_that_is_deleted_leaves_the_service_to_its_pods(lab, laptop):
    with exchanging(laptop, "web", "--expose=8080:80") as session:
        session.ready()
        (job,) = objects.agents(lab)
        lab.kubectl("delete", "job", job["metadata"]["name"], "--wait=false")
        assert session.error()["exit_code"] == AGENT_ERROR
        assert service_of(lab)["spec"]["selector"] == {"app": "web"}


def test_agents_pod_that_is_lost_is_replaced(lab, laptop):
    with program(laptop) as here, exchanged(laptop, "web", f"--expose={here.port}:80") as session:
        await_answerer(lab, "here")
        seen = len(session.events)
        lab.kubectl("delete", "pod", session.ready()["agent"], "--wait=false")
        session.event("reconnected", after=seen)
        await_answerer(lab, "here", seconds=30)
