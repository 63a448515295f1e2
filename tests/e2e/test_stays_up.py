"""A session stays up whatever becomes of its network and of the laptop, and says so."""

from __future__ import annotations

import signal

import pytest

from lab import network
from tests.e2e import objects
from tests.e2e.echoing import PAUSE_SECONDS, Echo, Pump, other_transport_than
from tests.e2e.outage import cut
from tests.e2e.returning import (
    PROMISED_SECONDS,
    assert_back,
    assert_goes_on,
    start_of_agent,
    told,
)
from tests.e2e.test_connect_again import agent_of, is_stopped
from tests.e2e.tow import connected
from tests.e2e.waiting import until

pytestmark = pytest.mark.usefixtures("no_trace")


def test_another_address_of_the_laptop(lab, laptop):
    with connected(laptop) as session, Echo(laptop) as echo:
        pod = session.ready()["agent"]
        echo.talk()
        seen = len(session.events)
        with network.moved(lab.layout):
            assert_goes_on(laptop, session, seen)
            assert agent_of(laptop) == pod
            echo.await_reset()
            seen = len(session.events)
        assert_goes_on(laptop, session, seen)


def test_address_that_the_laptop_soon_has_again(lab, laptop):
    with connected(laptop) as session, Echo(laptop) as echo:
        echo.talk()
        seen = len(session.events)
        with network.moved(lab.layout):
            assert_goes_on(laptop, session, seen)
        echo.talk()


def test_one_of_two_transports_is_cut(laptop):
    with connected(laptop) as session, Echo(laptop) as echo:
        kept = echo.transport()
        with other_transport_than(laptop, {kept}) as (lost, port), Pump(echo) as pump:
            pump.goes_on()
            with cut(laptop, port):
                until(lost.has_ended, PROMISED_SECONDS, "the flow on it to be reset")
            with other_transport_than(laptop, {kept, port}):
                pump.goes_on()
        assert pump.longest < PAUSE_SECONDS
        assert told(session) == []


def test_laptop_that_sleeps_for_longer_than_the_agent_waits(lab, laptop):
    with connected(laptop, "--grace=5") as session, Echo(laptop) as echo:
        pod = session.ready()["agent"]
        echo.talk()
        seen = len(session.events)
        session.process.send_signal(signal.SIGSTOP)
        until(lambda: is_stopped(session.pid), 5, "the session to be stopped")
        until(lambda: not objects.agents(lab), 60, "the agent to have given it up")
        session.process.send_signal(signal.SIGCONT)
        assert_back(laptop, session, seen, PROMISED_SECONDS + start_of_agent(session))
        echo.await_reset()
        assert agent_of(laptop) != pod
