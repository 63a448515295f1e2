"""A cluster without the internet, whose only registry wants a password."""

from __future__ import annotations

import pytest

from lab import registry as lab_registry
from tests import documented
from tests.e2e import objects
from tests.e2e.test_rights import EVENTS, who_answers
from tests.e2e.tow import starting

AGENT = 6
# The kubelet lets go of a pod when pulling its image has failed.
PULL_SECONDS = 60


@pytest.fixture(scope="module")
def registry(lab):
    """The registry; the node has its image no more afterwards."""
    with lab_registry.serving(lab.layout) as made:
        yield made
        ctr = ["ctr", "-a", str(lab.layout.containerd_socket), "-n", "k8s.io", "images", "rm"]
        lab.run_in_node([*ctr, made.image])


@pytest.fixture(scope="module", autouse=True)
def members(lab, registry):
    """A Secret to pull with, and who may do just what is documented."""
    secret = registry.pull_secret("corp", "team-a")
    rules = [*documented.rules("connect"), EVENTS]
    with objects.applied(lab, secret), objects.user(lab, "intranet", rules, namespace="team-a"):
        yield


@pytest.fixture(autouse=True)
def trace(members, no_trace):
    no_trace.cluster_seconds = PULL_SECONDS
    return no_trace


@pytest.fixture
def member(lab, laptop):
    """The arguments that make one that user."""
    file = laptop.input("intranet", lab.kubeconfig("intranet").read_text())
    return ["-c", file, "-n", "team-a"]


def test_registry_that_wants_a_password_is_told_with_the_option_for_it(laptop, registry, member):
    registry.open.set()
    with starting(laptop, *member, "--image", registry.image) as session:
        error = session.error(90)
    assert error["exit_code"] == AGENT
    assert registry.image in error["summary"]
    assert "401 Unauthorized" in error["summary"]
    assert "--image-pull-secret" in error["hint"]


def test_image_is_pulled_with_the_secret_and_the_pull_is_told(lab, laptop, registry, member):
    registry.open.clear()
    options = ["--image", registry.image, "--image-pull-secret", "corp"]
    with starting(laptop, *member, *options) as session:
        session.told(f'Pulling image "{registry.image}"')
        registry.open.set()
        pod = objects.pod_of_agent(lab, session.ready())
        assert who_answers(laptop, "http://web") == "team-web"
        session.interrupt()
        assert session.end() == 0, session.stderr
    assert pod["spec"]["containers"][0]["image"] == registry.image
    assert registry.new_layer in registry.served
