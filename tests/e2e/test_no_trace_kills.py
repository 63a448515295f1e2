"""Nothing is left of a session that is killed, in part or whole, whenever that may be."""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import contextmanager, suppress

import pytest

from lab.users import CONNECT_RULES
from tests.e2e import objects
from tests.e2e.lifetimes import observed
from tests.e2e.notrace import ABRUPT_SECONDS
from tests.e2e.tow import (
    END_SECONDS,
    GRACE_SECONDS,
    READY_SECONDS,
    Session,
    await_program,
    connected,
    starting,
)
from tests.e2e.waiting import until

RUNTIME_ERROR = 7  # RedirectError
ECHO = 7000
HEARD_SECONDS = 10
# Seconds from the start of the interpreter to some time after a session is ready: one by
# chance in each part of that time, which are shorter where most happens.
_CHANCE = random.Random(11)
_PARTS = (0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 2)
# What runs of ours, by its file, before the way in gives interrupts back to the system.
_FIRST = re.compile(r"/(bin/tow|towline/__init__\.py|towline/cli/(__init__|entry)\.py)")
MOMENTS = [round(_CHANCE.uniform(*part), 2) for part in itertools.pairwise(_PARTS)]


def interrupt(session: Session) -> None:
    session.interrupt()


def kill_session(session: Session) -> None:
    os.kill(session.pid, signal.SIGKILL)


def kill_helper(session: Session) -> None:
    session.kill_helper()


def kill_session_first(session: Session) -> None:
    kill_session(session)
    session.kill_helper()


def kill_helper_first(session: Session) -> None:
    session.kill_helper()
    kill_session(session)


KILLS = [kill_session, kill_helper, kill_session_first, kill_helper_first]


@pytest.fixture(autouse=True)
def trace(no_trace):
    """The laptop is looked at after each session, the cluster after the test's last one."""
    no_trace.allow_grace(GRACE_SECONDS)
    return no_trace


@pytest.fixture(autouse=True)
def lifetimes(lab, trace):
    """How long what each session had in the cluster stayed there after its end."""
    with observed(lab) as seen:
        yield seen
        trace.check_cluster()
    seen.check(GRACE_SECONDS + ABRUPT_SECONDS)


def assert_ended_well(session: Session, how: Callable[[Session], None]) -> None:
    """A session that still could has told what happened, and left with the right code."""
    if how is interrupt:
        code = session.end()
        assert code == (0 if is_ready(session) else 130), session.stderr
        assert session.stderr.strip() == ""
    elif how is kill_helper:
        error = session.error()
        assert error["summary"]
        assert error["hint"]
        assert error["exit_code"] in (5, RUNTIME_ERROR)  # it may not have been there yet
    else:
        assert session.end() == -signal.SIGKILL


@pytest.mark.parametrize("how", [interrupt, *KILLS])
def test_ended_at_each_step_of_starting(laptop, trace, lifetimes, how):
    """At each time that it says what it waits for now, and then once when it is ready."""
    steps = []
    while not steps or steps[-1]:
        with starting(laptop) as session:
            steps.append(session.step(len(steps) + 1))
            if how is kill_helper and not session.helpers():
                continue  # there is none yet at this step, and so nothing to kill
            lifetimes.ending()
            how(session)
            assert_ended_well(session, how)
        with telling(f"{how.__name__} at step {len(steps)}, {steps[-1]!r}"):
            trace.check_laptop()
    assert len(steps) >= 4, "the steps of starting were not seen"


@pytest.mark.parametrize("how", [interrupt, kill_session, kill_helper_first])
def test_ended_at_any_moment_of_starting(laptop, trace, lifetimes, how):
    for moment in MOMENTS:
        with starting(laptop) as session:
            await_program(session)
            with pytest.raises(subprocess.TimeoutExpired):
                session.process.wait(moment)
            lifetimes.ending()
            how(session)
            with telling(f"{how.__name__} after {moment} s"):
                if not is_interpreter_interrupted(session):
                    assert_ended_well(session, how)
                trace.check_laptop()


def is_interpreter_interrupted(session):
    """Whether Python was interrupted before our way in has run: it says so itself."""
    code = session.process.wait(END_SECONDS)
    session.drain()
    if code == -signal.SIGINT and not session.stderr:
        return True
    told = session.stderr
    return "KeyboardInterrupt" in told and "/tow" not in _FIRST.sub("", told)


def is_ready(session):
    return any(event["event"] == "ready" for event in session.events)


UNPULLABLE = "localhost/towline/nosuch:1"
FULL = "e2e-full-of-pods"


@pytest.fixture(scope="module")
def patient(lab):
    """A namespace without room for a pod, and who is not told that, and so waits on."""
    rules = [rule for rule in CONNECT_RULES if "events" not in rule["resources"]]
    with (
        objects.namespace(lab, FULL, objects.quota(FULL, "pods")),
        objects.user(lab, "patient", rules, FULL) as file,
    ):
        yield file


STUCK_ENDS = [interrupt, kill_session, kill_session_first]


def test_ended_while_the_image_cannot_be_pulled(laptop, lifetimes):
    for how in STUCK_ENDS:
        with telling(how.__name__), starting(laptop, "--image", UNPULLABLE) as session:
            session.told(f"the image {UNPULLABLE}")
            lifetimes.ending()
            how(session)
            assert_ended_well(session, how)


def test_ended_while_there_is_no_room_for_a_pod(laptop, patient, lifetimes):
    for number, how in enumerate(STUCK_ENDS, 1):
        own = starting(laptop, "-n", FULL, KUBECONFIG=str(patient))
        with telling(how.__name__), own as session:
            await_jobs(lifetimes, number)
            lifetimes.ending()
            how(session)
            assert_ended_well(session, how)


def await_jobs(lifetimes, number):
    until(lambda: len(lifetimes.seen) >= number, READY_SECONDS, f"{number} Jobs to have been there")


@contextmanager
def telling(when):
    """Failures say when."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{when}: {error}") from None


@pytest.mark.parametrize("how", [interrupt, *KILLS])
@pytest.mark.parametrize("family", [4, 6])
def test_program_that_reads_hears_of_the_end(lab, laptop, lifetimes, how, family):
    host = objects.addresses_of_service(lab, "sample")[family == 6]
    with starting(laptop) as session:
        session.ready()
        with laptop.connect_to(host, ECHO, seconds=HEARD_SECONDS) as client:
            client.sendall(b"there")
            assert client.recv(5, socket.MSG_WAITALL) == b"there"
            lifetimes.ending()
            how(session)
            with suppress(ConnectionError):
                assert client.recv(1) == b""
        assert_ended_well(session, how)


def test_next_session_works_at_once_after_a_kill(laptop, lifetimes):
    with starting(laptop) as session:
        session.ready()
        lifetimes.ending()
        kill_session_first(session)
        session.end()
    with connected(laptop):
        assert laptop.run("curl", "-sS", "--max-time", "10", "http://web").returncode == 0


def test_frozen_session_does_not_hold_the_helper_back(laptop, lifetimes):
    """A session that is stopped (as by Ctrl-Z) and then killed."""
    with starting(laptop) as session:
        session.ready()
        session.process.send_signal(signal.SIGSTOP)
        lifetimes.ending()
        kill_session(session)
        assert session.end() == -signal.SIGKILL
