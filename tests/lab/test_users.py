"""Users and their rights, and the API server at a distance."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import kubeconfigs, network, users
from lab.errors import LabError
from tests.lab.conftest import NAME
from tests.lab.places import connection

COMMAND = str(Path(sys.executable).with_name("lab"))


def may(lab, config, verb, what, namespace="team-a") -> bool:
    """Whether the user of a kubeconfig may do something."""
    argv = ["kubectl", f"--kubeconfig={config}", "auth", "can-i", verb, what, "-n", namespace]
    return lab.run_in_laptop(argv).stdout.strip() == "yes"


def printed(*arguments: str) -> str:
    argv = [COMMAND, "--name", NAME, "kubeconfig", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_administrator_may_do_anything(lab):
    assert may(lab, lab.kubeconfig(), "delete", "nodes", "kube-system")


def test_namespace_only_may_connect_in_its_namespace_and_no_more(lab):
    config = lab.kubeconfig("namespace-only")
    for rule in users.CONNECT_RULES:
        for resource in rule["resources"]:
            (group,) = rule["apiGroups"]
            name, _, part = resource.partition("/")
            what = (f"{name}.{group}" if group else name, *([f"--subresource={part}"] * bool(part)))
            for verb in rule["verbs"]:
                argv = ["kubectl", f"--kubeconfig={config}", "auth", "can-i", verb, *what]
                assert lab.run_in_laptop([*argv, "-n", "team-a"]).stdout.strip() == "yes", rule
    assert not may(lab, config, "get", "services")
    assert not may(lab, config, "create", "jobs", "default")
    assert not may(lab, config, "list", "nodes")


def test_new_user_has_just_the_given_rules_and_they_can_change(lab):
    reads = {"apiGroups": [""], "resources": ["services"], "verbs": ["get"]}
    config = lab.add_user("reader", [reads], namespace="team-a")
    assert may(lab, config, "get", "services")
    assert not may(lab, config, "list", "services")
    assert lab.add_user("reader", [], namespace="team-a") == config
    assert not may(lab, config, "get", "services")


def test_unknown_user_is_said_to_be_unknown(lab):
    with pytest.raises(LabError, match=r"no user 'nobody'; there are: .*namespace-only"):
        lab.kubeconfig("nobody")


def test_kubeconfig_prints_the_path_and_nothing_else(lab):
    assert printed() == f"{lab.kubeconfig()}\n"
    assert printed("--user", "namespace-only") == f"{lab.kubeconfig('namespace-only')}\n"
    path = Path(printed("--rtt", "40", "--user", "namespace-only").removesuffix("\n"))
    assert kubeconfigs.server_url(40) in path.read_text()


def test_rtt_delays_each_round_trip(lab):
    """A handshake of TLS 1.3 by openssl: one round trip for TCP, one for TLS."""
    lab.kubeconfig(rtt_ms=150)
    target = f"{network.NODE_V4}:{network.DELAYED_API_PORT + 150}"
    began = time.monotonic()
    done = lab.run_in_laptop(["openssl", "s_client", "-connect", target, "-tls1_3"])
    took = time.monotonic() - began
    assert "TLSv1.3" in done.stdout
    assert took >= 0.3


def test_rtt_is_started_once(lab):
    lab.kubeconfig(rtt_ms=40)
    with connection(lab.layout.laptop_net, network.NODE_V4, network.DELAYED_API_PORT + 40):
        lab.kubeconfig(rtt_ms=40)
    delayed = str(lab.kubeconfig(rtt_ms=40))
    done = lab.run_in_laptop(["kubectl", f"--kubeconfig={delayed}", "get", "nodes", "-o", "name"])
    assert done.stdout == "node/node1\n"


def listings_of_pods(lab):
    """Who has listed the pods of a namespace, as noted so far."""
    return [
        event["user"]["username"]
        for event in lab.api_requests()
        if event["verb"] == "list"
        and event["requestURI"].startswith("/api/v1/namespaces/team-a/pods")
    ]


def test_api_requests_tell_who_asked_what(lab):
    before = len(listings_of_pods(lab))
    lab.kubectl("get", "pods", "-n", "team-a")
    assert listings_of_pods(lab)[before:] == ["admin"]


def test_api_requests_do_not_tell_of_the_observer(lab):
    before = len(listings_of_pods(lab))
    observer = f"--kubeconfig={lab.kubeconfig(users.OBSERVER)}"
    argv = ["kubectl", observer, "get", "pods", "-n", "team-a"]
    assert lab.run_in_laptop(argv).returncode == 0
    lab.kubectl("get", "pods", "-n", "team-a")
    assert listings_of_pods(lab)[before:] == ["admin"]
