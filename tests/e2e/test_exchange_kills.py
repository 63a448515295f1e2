"""An exchange that is cut off at each of its steps: the service works on, and nothing is left."""

from __future__ import annotations

import signal
from contextlib import ExitStack, contextmanager

import pytest

from tests.e2e import objects
from tests.e2e.cutting import AFTER, BEFORE, cut_at_each_write, cutting, ends_of
from tests.e2e.exchanging import answerer, await_answerer, exchanging
from tests.e2e.waiting import until

# Ten sessions start at a time: each needs a while to come to its agent.
GRACE_SECONDS = 10

pytestmark = pytest.mark.usefixtures("no_trace")

WRITES = [
    "POST jobs",
    "POST services",
    "POST serviceaccounts",
    "POST roles",
    "POST rolebindings",
    "PATCH jobs",  # the pod
    "PATCH jobs",  # no deadline any more
    "PATCH services",  # the switch
    "PATCH services",  # and back
    "PATCH services",  # without a note of who managed its fields
]


@contextmanager
def cut_at(laptop, number, when):
    """An exchange of a service of its own that is killed at a write of starting or ending."""
    name = f"cut-{number}"
    with cutting(laptop, number, when) as cut:
        arguments = ("--expose=8080:80", f"--grace={GRACE_SECONDS}", "-c", cut.kubeconfig)
        with exchanging(laptop, name, *arguments) as session:
            cut.arm(session.process.kill)
            yield cut, session


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_killed_at_each_write(lab, laptop, no_trace, when):
    no_trace.allow_grace(GRACE_SECONDS)
    numbers = range(1, len(WRITES) + 2)
    services = [objects.service(f"cut-{number}", "default", "web") for number in numbers]
    with objects.applied(lab, *services):
        with ExitStack() as stack:
            running = [stack.enter_context(cut_at(laptop, number, when)) for number in numbers]
            ends = ends_of(running)
        assert ends == [*((-signal.SIGKILL, each) for each in WRITES), (0, None)]
        for number in numbers:
            await_answerer(lab, "web", f"cut-{number}")
        until(lambda: not objects.agents(lab), 60, "the agents to be gone")
        for number in numbers:
            await_answerer(lab, "web", f"cut-{number}")


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_killed_at_the_write_into_a_pod(lab, laptop, no_trace, when):
    no_trace.allow_grace(GRACE_SECONDS)
    arguments = ("deploy/sample", "--expose=1:8080", f"--grace={GRACE_SECONDS}")
    address, _ = objects.addresses_of_service(lab, "sample")
    cut = []
    for write in cut_at_each_write(laptop, when, *arguments, command="exchange"):
        cut.append(write.path.rpartition("/")[2])
        assert answerer(lab, address, 8080) == "sample"
        no_trace.check()
        assert answerer(lab, address, 8080) == "sample"
    assert cut == ["ephemeralcontainers"]
