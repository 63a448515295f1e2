"""A service in the cluster for a program of the laptop: reached, lost and gone."""

from __future__ import annotations

import json
import signal

import pytest

from lab import network
from tests import documented
from tests.e2e import objects
from tests.e2e.answering import answers, ask, ask_udp, program, udp_program
from tests.e2e.cutting import AFTER, BEFORE, Write, cut_at_each_write, cutting
from tests.e2e.outage import SILENCE, outage
from tests.e2e.tow import GRACE_SECONDS, connected, starting
from tests.e2e.waiting import until
from tests.e2e.workloads import give_address, node_port

RULES, SERVICES = documented.rules("connect"), documented.rules("preview")

ACCESS_ERROR = 5
SESSION_ERROR = 8
AGENT_ERROR = 6
# kube-proxy looks at its work once a second.
SERVED_SECONDS = 15
# A connection that the session does not answer for waits no longer.
SILENT_SECONDS = 10

pytestmark = pytest.mark.usefixtures("no_trace")


def previewing(laptop, name, *arguments):
    return starting(laptop, name, *arguments, command="preview")


def previewed(laptop, name, *arguments):
    return connected(laptop, name, *arguments, command="preview")


def await_answer(lab, session, port, wanted):
    addresses = session.ready()["addresses"]

    def all_answer():
        return all(answers(lab, address, port) == wanted for address in addresses)

    until(all_answer, SERVED_SECONDS, f"{wanted!r}")


def test_service_leads_to_the_program_over_both_families(lab, laptop):
    with program(laptop) as here, previewed(laptop, "mine", f"--expose={here.port}:80") as session:
        ready = session.ready()
        assert len(ready["addresses"]) == 2
        await_answer(lab, session, 80, b"hereHELLO")
        words = b"abc" * (1 << 20)
        assert ask(lab, ready["addresses"][0], 80, words) == b"here" + words.upper()
        assert "mine.default:80" in ready["message"]


def test_external_one_is_reached_from_outside_at_the_port_that_it_says(lab, laptop):
    exposed = ("--expose=1:81", "--external")
    with (
        program(laptop) as here,
        previewed(laptop, "mine", f"--expose={here.port}:80", *exposed) as session,
    ):
        session.ready()
        assert lab.kubectl_json("service", "mine")["spec"]["type"] == "LoadBalancer"
        port = node_port(lab, "mine", "tcp-80")
        assert f"80/TCP is {port}" in session.event("note")["message"]
        for address in (network.NODE_V4, network.NODE_V6):
            until(
                lambda at=address: answers(lab, at, port) == b"hereHELLO", SERVED_SECONDS, "answers"
            )
        give_address(lab, "mine", "192.0.2.81")
        until(lambda: answers(lab, "192.0.2.81", 80) == b"hereHELLO", SERVED_SECONDS, "answers")


@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1"])
def test_datagrams_come_to_the_program_over_both_families(lab, laptop, loopback):
    with udp_program(laptop, "here", loopback) as here:
        exposed = f"--expose={here.port}:53/udp"
        with previewed(laptop, "mine", exposed) as session:
            ready = session.ready()
            assert "mine.default:53/udp" in ready["message"]
            assert len(ready["addresses"]) == 2
            for address in ready["addresses"]:
                until(lambda at=address: ask_udp(lab, at, 53), SERVED_SECONDS, "an answer")
                assert ask_udp(lab, address, 53) == b"hereHELLO"
                assert ask_udp(lab, address, 53, b"x" * 60_000) == b"here" + b"X" * 60_000


def test_program_for_datagrams_that_does_not_listen_yet_is_awaited(lab, laptop):
    with udp_program(laptop, "here", "127.0.0.1") as free:
        port = free.port
    with (
        program(laptop, "tcp", port),
        previewed(laptop, "mine", f"--expose={port}:53/udp,{port}:53") as session,
    ):
        assert str(port) in session.event("unserved")["message"]
        await_answer(lab, session, 53, b"tcpHELLO")
        address = session.ready()["addresses"][0]
        assert ask_udp(lab, address, 53) == b""
        with udp_program(laptop, "late", "127.0.0.1", port):
            session.event("served")
            until(lambda: ask_udp(lab, address, 53) == b"lateHELLO", SERVED_SECONDS, "an answer")


def test_several_ports_also_those_of_the_agent_itself(lab, laptop):
    with program(laptop, "one") as one, program(laptop, "two") as two:
        exposed = f"--expose={one.port}:7070,{two.port}:9000"
        with previewed(laptop, "mine", exposed) as session:
            await_answer(lab, session, 7070, b"oneHELLO")
            await_answer(lab, session, 9000, b"twoHELLO")


def test_pods_find_it_by_its_name(lab, laptop):
    with program(laptop) as here, previewed(laptop, "mine", f"--expose={here.port}:80") as session:
        await_answer(lab, session, 80, b"hereHELLO")
        asking = (
            "import socket; c=socket.create_connection(('mine.default',80),5);"
            "c.shutdown(1); print(c.recv(9))"
        )
        done = lab.kubectl("exec", "deploy/sample", "--", "python3", "-c", asking)
        assert done.strip() == "b'here'"


def test_program_that_does_not_listen_yet_is_told_and_awaited(lab, laptop):
    with program(laptop) as free:
        port = free.port
    with previewed(laptop, "mine", f"--expose={port}:80") as session:
        assert str(port) in session.event("unserved")["message"]
        address = session.ready()["addresses"][0]
        until(lambda: is_reset(lab, address), SERVED_SECONDS, "a reset")
        with program(laptop, "late", port):
            session.event("served")
            assert ask(lab, address, 80) == b"lateHELLO"
        until(lambda: is_reset(lab, address), SERVED_SECONDS, "a reset again")


def is_reset(lab, address):
    try:
        return ask(lab, address, 80) is None
    except ConnectionResetError:
        return True
    except OSError:
        return False


def test_name_that_is_taken_is_left_alone(lab, laptop):
    with previewing(laptop, "web", "--expose=8080:80") as session:
        error = session.error()
        assert error["exit_code"] == SESSION_ERROR
        assert "web in the namespace default" in error["summary"]
    with previewed(laptop, "mine", "--expose=8080:80"):
        with previewing(laptop, "mine", "--expose=8080:80") as second:
            assert "root@" in second.error()["summary"]


@pytest.mark.parametrize(
    "arguments",
    [("--expose=x",), ("--expose=80:81:82:83",), ("--expose=0",), ("--expose=1:2,3:2",)],
)
def test_ports_that_are_none_are_refused(laptop, arguments):
    with previewing(laptop, "mine", *arguments) as session:
        assert session.error()["exit_code"] == 2


@pytest.mark.parametrize("name", ["Mine", "a.b", "-x-"])
def test_names_that_no_service_may_have_are_refused(laptop, name):
    with previewing(laptop, "--expose=8080", "--", name) as session:
        error = session.error()
        assert name in error["summary"]


def test_killed_session_leaves_nothing(lab, laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    with program(laptop) as here, previewing(laptop, "mine", f"--expose={here.port}:80") as session:
        await_answer(lab, session, 80, b"hereHELLO")
        session.process.kill()
        session.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ended", "killed"])
def test_ended_at_each_step_of_starting(laptop, no_trace, number):
    no_trace.allow_grace(GRACE_SECONDS)
    steps = []
    while not steps or steps[-1]:
        with previewing(laptop, "mine", "--expose=8080:80") as session:
            steps.append(session.step(len(steps) + 1))
            session.process.send_signal(number)
            assert session.end() in (-number, 0, 130)
            no_trace.check_laptop()
        until(lambda: not is_there(laptop.lab, "mine"), 60, "the service to be gone")
    assert len(steps) >= 3


def test_killed_before_its_first_write(laptop):
    with cutting(laptop, 1, BEFORE) as cut:
        arguments = ("--expose=8080:80", "-c", cut.kubeconfig)
        with previewing(laptop, "mine", *arguments) as session:
            cut.arm(session.process.kill)
            assert session.end() == -signal.SIGKILL
        assert cut.made == Write("POST", "/apis/batch/v1/namespaces/default/jobs")
    assert objects.agents(laptop.lab) == []


def test_killed_after_each_write(laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    cut = []
    for write in cut_at_each_write(laptop, AFTER, "mine", "--expose=8080:80", command="preview"):
        no_trace.check()
        cut.append(write.method)
    assert sorted(cut) == ["DELETE", "PATCH", "POST", "POST"]


def is_there(lab, name):
    done = lab.run_in_node(["kubectl", "get", "service", name, "--ignore-not-found", "-o", "name"])
    assert done.returncode == 0, done.stderr
    return bool(done.stdout)


def test_way_that_is_cut_resets_and_comes_back(lab, laptop):
    """For less than the agent waits: the service keeps its addresses."""
    with program(laptop) as here:
        exposed = f"--expose={here.port}:80"
        with previewed(laptop, "mine", exposed, "--grace=60") as session:
            await_answer(lab, session, 80, b"hereHELLO")
            address = session.ready()["addresses"][0]
            seen = len(session.events)
            with outage(laptop, SILENCE):
                until(lambda: is_reset(lab, address), SILENT_SECONDS, "a reset, no hang")
                session.event("reconnecting", after=seen)
            session.event("reconnected", after=seen)
            until(lambda: answers(lab, address, 80) == b"hereHELLO", 15, "it to work again")


def test_lost_pod_is_replaced_and_the_service_keeps_its_addresses(lab, laptop):
    with program(laptop) as here, previewed(laptop, "mine", f"--expose={here.port}:80") as session:
        await_answer(lab, session, 80, b"hereHELLO")
        pod, seen = session.ready()["agent"], len(session.events)
        lab.kubectl("delete", "pod", pod, "--wait=false")
        session.event("reconnected", after=seen)
        await_answer(lab, session, 80, b"hereHELLO")
        (status,) = json.loads(laptop.run(laptop.tow, "status", "-o", "json").stdout)
        assert status["agent"] != pod


def test_deleted_job_ends_it(lab, laptop):
    with previewing(laptop, "mine", "--expose=8080:80") as session:
        session.ready()
        (job,) = objects.agents(lab)
        lab.kubectl("delete", "job", job["metadata"]["name"], "--wait=false")
        assert session.error()["exit_code"] == AGENT_ERROR


def test_works_in_a_restricted_namespace(lab, laptop):
    with program(laptop) as here:
        exposed = f"--expose={here.port}:80"
        with previewed(laptop, "mine", exposed, "-n", "restricted") as session:
            await_answer(lab, session, 80, b"hereHELLO")


@pytest.fixture(scope="module")
def users(lab):
    rights = {"previews-only": [*RULES, *SERVICES], "no-services": RULES}
    with (
        objects.user(lab, "previews-only", rights["previews-only"], namespace="team-a"),
        objects.user(lab, "no-services", rights["no-services"], namespace="team-a"),
    ):
        yield


def as_user(lab, laptop, name):
    return ("-c", laptop.input(name, lab.kubeconfig(name).read_text()), "-n", "team-a")


def test_documented_rights_are_enough(users, lab, laptop, no_trace):
    with program(laptop) as here:
        who = as_user(lab, laptop, "previews-only")
        with previewed(laptop, "mine", f"--expose={here.port}:80", *who) as session:
            await_answer(lab, session, 80, b"hereHELLO")


def test_right_that_is_missing_is_named(users, lab, laptop, no_trace):
    who = as_user(lab, laptop, "no-services")
    with previewing(laptop, "mine", "--expose=8080:80", *who) as session:
        error = session.error()
        assert error["exit_code"] == ACCESS_ERROR
        assert "create services" in error["summary"]
