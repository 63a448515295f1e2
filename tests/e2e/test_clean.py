"""What broken sessions have left is removed, and nothing that anybody still has."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import pytest

from tests.e2e import objects
from tests.e2e.broken import (
    NAMESPACE,
    allowed,
    annotate,
    await_gone,
    delete_job,
    exchanging_without_roles,
    leftovers,
    service,
    told,
)
from tests.e2e.load import load
from tests.e2e.tow import GRACE_SECONDS, connected

ACCESS_ERROR = 5

pytestmark = pytest.mark.usefixtures("no_trace")


def deeds(items):
    return [(item["deed"], item["what"]) for item in items]


def cleaned(laptop, *arguments):
    """What `tow clean` does; it may add to that of what it may not see."""
    done = laptop.run(laptop.tow, "clean", *arguments)
    assert done.returncode == 0, done.stderr
    return done


def test_documented_rights_clean_up_what_is_left(lab, laptop):
    before = service(lab)["spec"]
    with leftovers(lab, laptop) as agent, allowed(lab, laptop, "clean") as who:
        dry = cleaned(laptop, "--dry-run", *who)
        assert "Nothing was changed" in dry.stderr
        assert service(lab)["spec"] != before
        done = cleaned(laptop, *who)
        assert done.stdout == dry.stdout
        assert [line.split()[:3] for line in done.stdout.splitlines()[1:]] == [
            ["recover", NAMESPACE, "svc/web"],
            ["delete", NAMESPACE, f"job/{agent}"],
        ]
        assert "list deployments.apps in the namespace team-a" in done.stderr
        assert service(lab)["spec"] == before
    assert told(laptop, "clean", "-A") == []


def test_no_request_is_lost(lab, laptop):
    with leftovers(lab, laptop):
        address, _ = objects.addresses_of_service(lab, "web", NAMESPACE)
        with load(lab, address, 80) as under:
            under.await_count(200)
            told(laptop, "clean", "-A")
            under.await_more(200)
        assert under.failures == []


def test_sessions_that_are_there_are_left_alone(lab, laptop):
    """In whatever way they have something; they are as they were afterwards."""
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(connected(laptop, *arguments, command=command))
            for command, *arguments in (
                ("connect",),
                ("exchange", "web", "--expose=8080:80"),
                ("mirror", "sample", "--expose=8080:8080"),
                ("preview", "mine", "--expose=8080:80"),
            )
        ]
        items = told(laptop, "clean", "-A")
        assert {item["deed"] for item in items} == {"leave"}
        targets = {item["what"] for item in items if item["what"].startswith("svc/")}
        assert targets == {"svc/web", "svc/sample", "svc/mine"}
        assert len(items) == len(sessions)
        for session in sessions:
            events = {event["event"] for event in session.events}
            assert session.process.poll() is None
            assert "reconnecting" not in events


def test_session_that_may_come_back_is_left_alone(lab, laptop):
    """It has fallen silent, and its agent waits for it."""
    with exchanging_without_roles(lab, laptop, "--grace=600") as session:
        session.process.send_signal(signal.SIGSTOP)
        (item,) = told(laptop, "clean", "-n", NAMESPACE)
        assert (item["deed"], item["what"]) == ("leave", "svc/web")
        assert "may come back" in item["why"]
        session.process.send_signal(signal.SIGCONT)
        session.interrupt()
        assert session.end() == 0


def test_session_that_came_back_after_all_is_left_alone(lab, laptop, no_trace):
    """Its agent had missed it, and it has the service again."""
    no_trace.allow_grace(GRACE_SECONDS)
    with exchanging_without_roles(lab, laptop) as session:
        seen = len(session.events)
        session.process.send_signal(signal.SIGSTOP)
        await_gone(lab, session)
        session.process.send_signal(signal.SIGCONT)
        session.event("reconnected", after=seen)
        assert deeds(told(laptop, "clean", "-n", NAMESPACE)) == [("leave", "svc/web")]
        session.interrupt()
        assert session.end() == 0


def test_younger_ones_are_left_alone_if_so_wanted(lab, laptop):
    with leftovers(lab, laptop):
        items = told(laptop, "clean", "-n", NAMESPACE, "--older-than=1h")
        assert deeds(items) == [("leave", "svc/web")]
        items = told(laptop, "clean", "-n", NAMESPACE, "--older-than=1s")
        assert deeds(items)[0] == ("recover", "svc/web")


def test_what_somebody_has_kept_of_an_agent_is_removed(lab, laptop):
    """Its Job was deleted without what belongs to it, its pod included."""
    before = service(lab)["spec"]
    with leftovers(lab, laptop) as agent:
        delete_job(lab, agent, cascade="orphan")
        items = told(laptop, "clean", "-n", NAMESPACE)
        assert deeds(items)[0] == ("recover", "svc/web")
        assert ("delete", f"service/{agent}") in deeds(items)
    assert service(lab)["spec"] == before


def test_record_whose_agent_is_gone(lab, laptop):
    before = service(lab)["spec"]
    with leftovers(lab, laptop) as agent:
        delete_job(lab, agent)
        assert deeds(told(laptop, "clean", "-n", NAMESPACE)) == [("recover", "svc/web")]
    assert service(lab)["spec"] == before


def test_what_cannot_be_put_right_is_said_and_an_error(lab, laptop):
    with leftovers(lab, laptop) as agent:
        record = service(lab)["metadata"]["annotations"]["towline/interception"]
        annotate(lab, "towline/interception-")
        delete_job(lab, agent)
        done = laptop.run(laptop.tow, "clean", "-n", NAMESPACE)
        assert done.returncode == 1
        assert done.stdout.splitlines()[1].split()[:3] == ["leave", NAMESPACE, "svc/web"]
        assert "is not known" in done.stderr
        annotate(lab, f"towline/interception={record}")
        told(laptop, "recover", "web", "-n", NAMESPACE)


def test_right_that_is_missing_is_named_and_nothing_changed(lab, laptop):
    with leftovers(lab, laptop), allowed(lab, laptop, "list") as who:
        done = laptop.run(laptop.tow, "clean", *who)
        assert done.returncode == ACCESS_ERROR
        assert "get jobs.batch in the namespace team-a" in done.stderr
        assert "towline/agent" in service(lab)["spec"]["selector"]
        told(laptop, "clean", "-n", NAMESPACE)


@pytest.mark.parametrize("length", ["1", "x", "-1d", "1.5h"])
def test_length_of_time_that_is_none_is_refused(laptop, length):
    done = laptop.run(laptop.tow, "clean", f"--older-than={length}")
    assert done.returncode == 2
    assert "10m" in done.stderr
