"""One agent for all who share it: it is there for as long as anybody uses it."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager

import pytest

from lab import network
from lab.settings import PODS_V4
from tests import documented
from tests.e2e import objects
from tests.e2e.tow import GRACE_SECONDS, connected, starting
from tests.e2e.waiting import until

pytestmark = pytest.mark.usefixtures("no_trace")

SECONDS = 30.0
FORWARD = ("sample", "0:7000", "--share")


def sharing(laptop, *arguments):
    return starting(laptop, *FORWARD, *arguments, command="forward")


def shared(laptop, *arguments):
    return connected(laptop, *FORWARD, *arguments, command="forward")


@contextmanager
def conversation(laptop, session):
    """A connection through a session that is open all the time; gives what says and hears."""
    host, _, port = session.ready()["forwarded"][0]["local"].rpartition(":")
    with laptop.connect_to(host.strip("[]"), int(port), seconds=SECONDS) as client:

        def says(words):
            client.sendall(words)
            heard = b""
            while len(heard) < len(words):
                piece = client.recv(1 << 16)
                assert piece, f"it ended after {heard!r}"
                heard += piece
            assert heard == words

        says(b"at first")
        yield says


def agents(lab):
    """The names of the Jobs and pods of agents that there are, but for pods that are ending."""
    labels = ("-l", "app.kubernetes.io/managed-by=towline", "-n", "default", "-o", "json")
    items = json.loads(lab.kubectl("get", "jobs,pods", *labels))["items"]
    living = [each["metadata"] for each in items if "deletionTimestamp" not in each["metadata"]]
    return [each["name"] for each in living]


def listed(laptop, count):
    """What `tow list` says, as soon as it has so many lines."""

    def look():
        done = laptop.run(laptop.tow, "list", "-o", "json")
        found = json.loads(done.stdout)
        return found if len(found) == count else None

    return until(look, SECONDS, f"{count} lines of tow list")


def shared_with(laptop):
    """With whom each session shares its agent, by the sessions' process ids."""
    done = laptop.run(laptop.tow, "status", "-o", "json")
    return {
        each["pid"]: [other["command"] for other in each["shared_with"]]
        for each in json.loads(done.stdout)
    }


def test_sessions_have_one_agent_of_which_each_leaves_for_itself(lab, laptop):
    with ExitStack() as stack:
        first = stack.enter_context(connected(laptop, "--share"))
        with shared(laptop) as second, conversation(laptop, second) as says:
            assert second.ready()["agent"] == first.ready()["agent"]
            assert len(agents(lab)) == 2
            entries = listed(laptop, 2)
            assert {each["command"] for each in entries} == {"connect", "forward"}
            assert {each["mode"] for each in entries} == {"shared"}
            expected = {first.pid: ["forward"], second.pid: ["connect"]}
            until(lambda: shared_with(laptop) == expected, SECONDS, "each to know the other")
            stack.close()
            says(b"still here")
            assert [each["command"] for each in listed(laptop, 1)] == ["forward"]
            assert [
                each["event"] for each in second.events if each["event"] == "reconnecting"
            ] == []


def test_killed_maker_is_missed_by_nobody_and_its_agent_left_as_it_is(lab, laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    with sharing(laptop) as first:
        agent = first.ready()["agent"]
        with shared(laptop) as second, conversation(laptop, second) as says:
            first.process.kill()
            assert [each["command"] for each in listed(laptop, 1)] == ["forward"]
            with shared(laptop, "--cpu=50m:2") as third:
                assert third.ready()["agent"] == agent
                note = third.event("note")["message"]
            says(b"still here")
            assert second.ready()["agent"] == agent
    assert note.startswith("The shared agent is as ")
    assert note.endswith(" has begun it: --cpu nothing instead of 50m:2.")


def test_killed_while_it_starts_leaves_nothing_but_what_others_want(laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    with sharing(laptop) as first:
        first.told("Waiting for the cluster to make")
        with shared(laptop) as second:
            first.process.kill()
            second.ready()


def test_those_who_begin_at_once_have_one_agent_which_goes_when_all_are_killed(
    lab, laptop, no_trace
):
    no_trace.allow_grace(GRACE_SECONDS)
    with sharing(laptop) as first, sharing(laptop) as second, sharing(laptop) as third:
        sessions = (first, second, third)
        pods = {each.ready()["agent"] for each in sessions}
        assert len(pods) == 1
        assert len(agents(lab)) == 2
        for each in sessions:
            each.process.kill()


def test_one_new_pod_serves_all_when_theirs_is_lost(lab, laptop):
    with shared(laptop) as first, shared(laptop) as second:
        sessions, lost = (first, second), first.ready()["agent"]
        seen = [len(each.events) for each in sessions]
        lab.kubectl("delete", "pod", lost, "-n", "default", "--wait=false")
        back = {
            each.event("reconnected", after=after, seconds=60)["agent"]
            for each, after in zip(sessions, seen, strict=True)
        }
        assert len(back) == 1
        assert lost not in back
        assert len(agents(lab)) == 2
        for each in sessions:
            with conversation(laptop, each) as says:
                says(b"here again")


def test_each_session_has_a_direct_way_of_its_own(lab, laptop):
    with network.routed(lab.layout, PODS_V4), shared(laptop) as first, shared(laptop) as second:

        def ways():
            done = laptop.run(laptop.tow, "status", "-o", "json")
            return [each["transport"] for each in json.loads(done.stdout)]

        until(lambda: ways() == ["direct", "direct"], SECONDS, "both to be direct")
        for each in (first, second):
            with conversation(laptop, each) as says:
                says(b"past the API")
        assert ways() == ["direct", "direct"]


def test_role_that_is_documented_is_enough(lab, laptop):
    rules = [*documented.rules("connect --share"), *documented.rules("forward")[3:]]
    with objects.user(lab, "sharer", rules, namespace="default"):
        file = laptop.input("sharer", lab.kubeconfig("sharer").read_text())
        with shared(laptop, "-c", file) as first, shared(laptop, "-c", file) as second:
            assert first.ready()["agent"] == second.ready()["agent"]
            with conversation(laptop, second) as says:
                says(b"by a few rights")
