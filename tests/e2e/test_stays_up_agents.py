"""A session stays up whatever becomes of its agent and of the API server, and says so."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress

import pytest

from lab import network
from lab.settings import NODE_NAME, PODS_V4
from tests.e2e import objects
from tests.e2e.echoing import PAUSE_SECONDS, Echo, Pump
from tests.e2e.faults import CONTROLLERS_SECONDS
from tests.e2e.returning import PROMISED_SECONDS, assert_back, start_of_agent, told
from tests.e2e.test_connect_again import evict
from tests.e2e.test_forward import local
from tests.e2e.tow import connected, starting

AGENT_ERROR = 6
BULK = 7002
CONNECT_SECONDS = 5

pytestmark = pytest.mark.usefixtures("no_trace")


def test_evicted_agent_has_no_node_for_a_while(lab, laptop):
    with connected(laptop) as session:
        seen = len(session.events)
        lab.kubectl("cordon", NODE_NAME)
        try:
            evict(lab, session.ready()["agent"])
            session.event("reconnecting", after=seen)
            assert session.told("unschedulable").count("unschedulable") == 1
            assert "unschedulable" in laptop.run(laptop.tow, "status").stdout
        finally:
            lab.kubectl("uncordon", NODE_NAME)
        assert_back(laptop, session, seen, PROMISED_SECONDS + start_of_agent(session))


def test_agent_that_needs_more_memory_than_it_may(lab, laptop):
    """Each time it is said; the third time the session ends instead of making agents for ever."""
    host = objects.addresses_of_service(lab, "sample")[0]
    with starting(laptop, "--memory=32Mi:40Mi") as session:
        session.ready()
        for _ in range(2):
            seen = len(session.events)
            overload(laptop, host, session, "note", seen)
            note = session.event("note", after=seen)
            assert "--memory" in note["hint"]
            session.event("reconnected", after=seen)
        overload(laptop, host, session, "error", len(session.events))
        error = session.error()
    assert error["exit_code"] == AGENT_ERROR
    assert "memory" in error["summary"]
    assert "--memory" in error["hint"]


def overload(laptop, host, session, name, seen):
    """Ask for much that is not read, of which an agent keeps some, until an event of that name."""
    with ExitStack() as stack:
        while not any(each["event"] == name for each in session.events[seen:]):
            with suppress(OSError):  # while there is no link
                client = stack.enter_context(laptop.connect_to(host, BULK, CONNECT_SECONDS))
                client.sendall(b"d")


def test_api_server_that_starts_anew(lab, laptop, no_trace):
    """What goes through it is reset. What goes directly to the agent does not notice."""
    no_trace.cluster_seconds += CONTROLLERS_SECONDS
    with (
        forwarded_directly(lab, laptop) as (direct, where),
        connected(laptop, "--grace=60", "--transport=api") as session,
        Echo(laptop) as echo,
        Echo(laptop, where) as other,
        Pump(other) as pump,
    ):
        echo.talk()
        pod, seen = session.ready()["agent"], len(session.events)
        lab.kill_component("kube-apiserver")
        try:
            session.event("reconnecting", after=seen)
            echo.await_reset()
            pump.goes_on()
        finally:
            lab.start_component("kube-apiserver")
        assert_back(laptop, session, seen, PROMISED_SECONDS)
        assert session.event("reconnected", after=seen)["agent"] == pod
        pump.goes_on()
        assert pump.longest < PAUSE_SECONDS
        assert told(direct) == []


@contextmanager
def forwarded_directly(lab, laptop):
    """A session by the agent's own address, and its local port."""
    options = ("--transport=direct", "sample", "0:7000", "--address=127.0.0.1")
    with (
        network.routed(lab.layout, PODS_V4),
        connected(laptop, *options, command="forward") as session,
    ):
        yield session, local(session)
