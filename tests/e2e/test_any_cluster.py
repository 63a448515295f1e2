"""Clusters with rules of their own: what they demand of the agent's pod can be said."""

from __future__ import annotations

import json
import subprocess

import pytest

from lab import settings
from tests import documented
from tests.e2e import objects
from tests.e2e.tow import connected, starting
from tests.e2e.waiting import until

STRICT = "e2e-strict"
ACCESS = 5
NOTE_SECONDS = 30
PATCH = {
    "spec": {
        "securityContext": {"runAsUser": 12345},
        "containers": [{"name": "agent", "env": [{"name": "TZ", "value": "Europe/Berlin"}]}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "Exists"}]}
                    ]
                }
            }
        },
    }
}


def made(kind, name, spec, api="v1"):
    metadata = {"name": name, "namespace": STRICT}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}


LIMITS = {
    "type": "Container",
    "min": {"cpu": "20m", "memory": "48Mi"},
    "maxLimitRequestRatio": {"memory": "2"},
}
RULES = (
    made("LimitRange", "sizes", {"limits": [LIMITS]}),
    # With this, all pods need requests and limits of CPU.
    made("ResourceQuota", "all", {"hard": {"requests.cpu": "1", "limits.cpu": "1", "pods": "4"}}),
    {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "runner", "namespace": STRICT},
    },
    {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "e2e-low"},
        "value": -5,
    },
)


@pytest.fixture(scope="module", autouse=True)
def strict(lab):
    """A namespace that is Restricted, whose containers and pods have their limits."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    with (
        objects.namespace(lab, STRICT, *RULES, labels=labels),
        objects.user(lab, "strictly", documented.rules("connect"), namespace=STRICT),
    ):
        yield


@pytest.fixture(autouse=True)
def trace(strict, no_trace):
    return no_trace


@pytest.fixture
def strictly(lab, laptop):
    """The arguments that make one the user who may do in the namespace what is documented."""
    file = laptop.input("strictly", lab.kubeconfig("strictly").read_text())
    return ["-c", file, "-n", STRICT]


def test_limits_of_the_namespace_are_told_with_the_options_that_meet_them(laptop):
    with starting(laptop, "-n", STRICT) as session:
        error = session.error()
    assert error["exit_code"] == ACCESS
    assert "limits" in error["summary"]
    assert "--cpu REQUEST:LIMIT" in error["hint"]


def test_pod_is_as_the_cluster_wants_it(lab, laptop, strictly):
    patch = laptop.input("patch.json", json.dumps(PATCH))
    options = ["--cpu=50m:500m", "--memory=64Mi:128Mi", "--service-account=runner"]
    options += ["--label=team=shop", "--annotation=note=for us", "--pod-patch", patch]
    options += ["--node-selector=kubernetes.io/os=linux", "--toleration=dedicated=dev:NoSchedule"]
    options += [
        "--priority-class=e2e-low",
        "--image-pull-policy=Never",
        "--dns-policy=ClusterFirst",
    ]
    taint = ("taint", "node", settings.NODE_NAME)
    lab.kubectl(*taint, "dedicated=dev:NoSchedule")
    try:
        with connected(laptop, *strictly, *options) as session:
            pod = objects.pod_of_agent(lab, session.ready())
            done = laptop.run("curl", "-sS", "--max-time", "10", "http://web.default")
            assert json.loads(done.stdout)["name"] == "web"
    finally:
        lab.kubectl(*taint, "dedicated-")
    assert pod["metadata"]["labels"]["team"] == "shop"
    assert pod["metadata"]["annotations"]["note"] == "for us"
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    assert spec["serviceAccountName"] == "runner"
    assert spec["priority"] == -5
    assert spec["securityContext"]["runAsUser"] == 12345
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert "nodeAffinity" in spec["affinity"]
    assert container["imagePullPolicy"] == "Never"
    assert container["env"] == [{"name": "TZ", "value": "Europe/Berlin"}]
    assert container["resources"] == {
        "requests": {"cpu": "50m", "memory": "64Mi"},
        "limits": {"cpu": "500m", "memory": "128Mi"},
    }


# What a NetworkPolicy that denies all comes to. The lab's network knows none; the kubelet, by which
# the link comes, is always let through to the pod's loopback.
DENY = """
table inet deny {
    chain in { type filter hook input priority 0; policy drop; iifname lo accept; }
    chain out { type filter hook output priority 0; policy drop; oifname lo accept; }
}
"""


def test_pod_that_may_reach_nobody_is_told_of(lab, laptop):
    with connected(laptop, "-n", "team-a") as session:
        pod = objects.pod_of_agent(lab, session.ready())
        (agent,) = objects.processes_of_pod(pod["metadata"]["uid"])
        net = ["nsenter", "-t", str(agent), "-n", "nft", "-f", "-"]
        subprocess.run(net, input=DENY, text=True, check=True)
        assert laptop.run("getent", "hosts", "web").returncode != 0

        def hints():
            notes = [each for each in session.events if each["event"] == "note"]
            return [each["hint"] for each in notes if "does not answer" in each["what"]]

        until(hints, NOTE_SECONDS, "a note of it")
        assert "NetworkPolicy" in hints()[0]
