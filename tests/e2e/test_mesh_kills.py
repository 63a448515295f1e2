"""A part in a mesh that is cut off at each of its steps: the service works on, nothing is left."""

from __future__ import annotations

import signal
from contextlib import ExitStack, contextmanager

import pytest

from tests.e2e import objects
from tests.e2e.applications import local_application
from tests.e2e.cutting import AFTER, BEFORE, cutting, ends_of
from tests.e2e.meshing import await_answers, meshed, meshing, record_of
from tests.e2e.waiting import until

# Many sessions start at a time: each needs a while to come to its agent.
GRACE_SECONDS = 10
# Nobody is dropped while others come, which would be a write at the same time.
LONG_GRACE_SECONDS = 25

pytestmark = pytest.mark.usefixtures("no_trace")

BEGINNING = [
    "POST jobs",
    "POST services",
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
JOINING = [
    "PATCH services",  # there
    "PATCH services",  # leaving
    "PATCH services",  # gone
]


@contextmanager
def cut_at(laptop, service, name, number, when, grace=GRACE_SECONDS):
    """A part of that name that is killed at a write of starting or ending."""
    with cutting(laptop, number, when) as cut:
        rule = f"--match=header:x-user={name}"
        arguments = ("--expose=8080:80", f"--grace={grace}", "-c", str(cut.kubeconfig))
        with meshing(laptop, service, rule, *arguments) as session:
            cut.arm(session.process.kill)
            yield cut, session


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_first_is_killed_at_each_write(lab, laptop, no_trace, when):
    no_trace.allow_grace(GRACE_SECONDS)
    numbers = range(1, len(BEGINNING) + 2)
    services = [objects.service(f"cut-{number}", "default", "web") for number in numbers]
    with objects.applied(lab, *services):
        with ExitStack() as stack:
            running = [
                stack.enter_context(cut_at(laptop, f"cut-{number}", "ada", number, when))
                for number in numbers
            ]
            ends = ends_of(running)
        assert ends == [*((-signal.SIGKILL, each) for each in BEGINNING), (0, None)]
        for number in numbers:
            addresses = objects.addresses_of_service(lab, f"cut-{number}")
            await_answers(lab, "web", addresses, x_user="ada")
        until(lambda: not objects.agents(lab), 60, "the agents to be gone")
        for number in numbers:
            addresses = objects.addresses_of_service(lab, f"cut-{number}")
            await_answers(lab, "web", addresses, x_user="ada")


def test_others_are_killed_at_each_write_and_nobody_else_notices(lab, laptop, no_trace):
    grace = LONG_GRACE_SECONDS
    no_trace.allow_grace(grace)
    ends = []
    with local_application(laptop, "here", 200) as port:
        ada = ("--match=header:x-user=ada", f"--expose={port}:80", f"--grace={grace}")
        with meshed(laptop, "web", *ada):
            for when in (BEFORE, AFTER):
                for number in range(1, len(JOINING) + 2):
                    with cut_at(laptop, "web", f"{when.name}-{number}", number, when, grace) as one:
                        ends += ends_of([one])
            assert ends == 2 * [*((-signal.SIGKILL, each) for each in JOINING), (0, None)]
            await_answers(lab, "here", x_user="ada")

            def is_alone():
                (participant, *others) = record_of(lab)["mesh"]["participants"]
                assert participant["match"] == ["header:x-user=ada"]
                return not others

            until(is_alone, grace + 40, "the killed ones to be dropped")
            await_answers(lab, "web", x_user="AFTER-1")
            await_answers(lab, "here", x_user="ada")
