"""A pod of the laptop's among those of a workload, where no rules lead requests."""

from __future__ import annotations

import pytest

from tests import documented
from tests.e2e import objects
from tests.e2e.applications import local_application, name_of_answer
from tests.e2e.tow import connected, starting
from tests.e2e.waiting import until

pytestmark = pytest.mark.usefixtures("no_trace")

SHARED_SECONDS = 20
SESSION_ERROR = 8
ARGUMENTS = ("web", "--mode=manual", "--version-mark=version:ada", "--expose=8080:80")


RULES = [
    *documented.rules("connect"),
    *documented.rules("mesh --mode manual"),
    {"apiGroups": [""], "resources": ["services"], "verbs": ["get"]},
]


@pytest.fixture
def member(lab, laptop):
    """The arguments that make one who may do what is documented, and no more."""
    with objects.user(lab, "manual-only", RULES):
        yield ["-c", laptop.input("manual-only", lab.kubeconfig("manual-only").read_text())]


def test_pod_gets_its_share_and_nothing_is_lost_at_its_end(lab, laptop, member):
    address = objects.addresses_of_service(lab, "web")[0]
    before = lab.kubectl_json("service", "web")["spec"]
    with local_application(laptop):
        with connected(laptop, *ARGUMENTS, *member, command="mesh"):
            seen = set()

            def both_have_answered():
                seen.add(name_of_answer(lab, address, 80))
                return seen == {"web", "here"}

            until(both_have_answered, SHARED_SECONDS, "answers of both")
            assert lab.kubectl_json("service", "web")["spec"] == before
            (pod,) = lab.kubectl_json("pods", "-l", "app=web,version=ada")["items"]
            assert pod["metadata"]["labels"]["towline/role"] == "mesh"
            with starting(laptop, *ARGUMENTS, command="mesh") as second:
                error = second.error()
                assert error["exit_code"] == SESSION_ERROR
                assert "version: ada" in error["summary"]
        assert {name_of_answer(lab, address, 80) for _ in range(10)} == {"web"}
