"""The sample of docs/context-propagation.md: a call's header decides who answers the second hop."""

from __future__ import annotations

import json
import sys

import pytest
import yaml

from lab.images import PYTHON_IMAGE
from lab.layout import CHECKOUT
from tests.e2e import objects
from tests.e2e.tow import connected, starting
from tests.e2e.waiting import until

pytestmark = pytest.mark.usefixtures("no_trace")

NAMESPACE = "team-a"
EXAMPLE = CHECKOUT / "examples" / "context-propagation"
# As the page has it.
IN_BAGGAGE = r"header:baggage~=(.*\,)? *tow=ada *([;\,].*)?"
SECONDS = 30


@pytest.fixture
def services(lab):
    """The three services, ready."""
    text = lab.kubectl("kustomize", str(EXAMPLE)).replace("python:3-slim", PYTHON_IMAGE)
    made = list(yaml.safe_load_all(text))
    for each in made:
        each["metadata"]["namespace"] = NAMESPACE
    with objects.applied(lab, *made):
        for name in ("front", "middle", "back"):
            lab.kubectl("rollout", "status", f"deployment/{name}", "-n", NAMESPACE)
        yield
    ours = "app in (front, middle, back)"
    lab.kubectl("wait", "--for=delete", "pod", "-l", ours, "-n", NAMESPACE, "--timeout=60s")


@pytest.fixture
def chain(laptop):
    """Asks the first service, as any program of the laptop does; gives who has answered."""

    def ask(*header: str) -> list[str]:
        words = [word for each in header for word in ("-H", each)]
        done = laptop.run("curl", "-sS", "--max-time", "10", "http://front", *words)
        return [each.partition(" ")[0] for each in json.loads(done.stdout or "[]")]

    return ask


def test_header_of_the_first_request_leads_the_second_one_here(laptop, services, chain):
    program = {"NAME": "mine", "NEXT": "http://back", "PORT": "18080"}
    mesh = ("middle", "--expose=18080:80", "--match=header:x-tow=ada", f"--match={IN_BAGGAGE}")
    run = ("--", sys.executable, EXAMPLE / "service.py")
    with (
        connected(laptop, "-n", NAMESPACE),
        starting(laptop, "-n", NAMESPACE, *mesh, *run, command="mesh", **program) as session,
    ):
        session.ready()
        originals, mine = ["front", "middle", "back"], ["front", "mine", "back"]
        until(lambda: chain("x-tow: ada") == mine, SECONDS, "requests with the header to come here")
        assert chain("baggage: a=b,tow=ada;p=1,c=d") == mine
        for other in ((), ("x-tow: bob",), ("baggage: tow=adam",)):
            assert chain(*other) == originals
        session.interrupt()
        assert session.end() == 0, session.stderr
        until(lambda: chain("x-tow: ada") == originals, SECONDS, "all to be as it was")
