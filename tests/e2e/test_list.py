"""Who has what, as the cluster tells it."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest

from tests.e2e import objects
from tests.e2e.broken import NAMESPACE, NO_ROLES, allowed, as_user, leftovers, told
from tests.e2e.tow import connected

pytestmark = pytest.mark.usefixtures("no_trace")


def test_documented_rights_show_all_that_sessions_have(lab, laptop):
    with ExitStack() as stack:
        sessions = {
            command: stack.enter_context(
                connected(laptop, *arguments, "-n", NAMESPACE, command=command)
            ).ready()
            for command, *arguments in (
                ("connect",),
                ("exchange", "web", "--expose=8080:80"),
                ("preview", "mine", "--expose=8080:80"),
            )
        }
        who = stack.enter_context(allowed(lab, laptop, "list"))
        entries = told(laptop, "list", *who)
        found = {entry["command"]: entry for entry in entries}
        targets = {command: entry["target"] for command, entry in found.items()}
        assert targets == {"connect": "", "exchange": "svc/web", "preview": "svc/mine"}
        for command, ready in sessions.items():
            entry = found[command]
            assert entry["agent"] == ready["agent"]
            assert entry["owner"].startswith("root@")
            assert entry["since"]
            assert entry["state"] == "running"
            assert entry["mode"] == ("selector" if command == "exchange" else "")
        assert told(laptop, "list", "-A") == entries
        in_lines(laptop, entries)
        in_check(laptop)


def in_lines(laptop, entries):
    done = laptop.run(laptop.tow, "list", "-n", NAMESPACE)
    assert done.stderr == ""
    head, *lines = done.stdout.splitlines()
    assert head.split()[:3] == ["NAMESPACE", "TARGET", "COMMAND"]
    begins = head.index("COMMAND")
    assert sorted(line[begins:].split()[0] for line in lines) == sorted(
        entry["command"] for entry in entries
    )


def in_check(laptop):
    done = laptop.run(laptop.tow, "check", "-n", NAMESPACE, "-o", "json")
    (finding,) = [each for each in json.loads(done.stdout) if each["name"] == "agents"]
    assert finding["verdict"] == "ok"
    assert "exchange of svc/web by root@" in finding["what"]


def test_nobody_has_anything(laptop):
    done = laptop.run(laptop.tow, "list", "-n", NAMESPACE)
    assert (done.returncode, done.stdout) == (0, f"Nobody has anything in {NAMESPACE}.\n")


def test_what_may_not_be_listed_is_said(lab, laptop):
    with leftovers(lab, laptop):
        done = laptop.run(laptop.tow, "list", "-o", "json", *as_user(lab, laptop, NO_ROLES))
        assert done.returncode == 0
        (entry,) = json.loads(done.stdout)
        assert entry["target"] == "svc/web"
        assert "list jobs.batch in the namespace team-a" in done.stderr
        told(laptop, "recover", "web", "-n", NAMESPACE)


def test_container_of_ours_in_a_pod_is_shown_while_it_runs(lab, laptop):
    """And nothing of it is left when its pod is."""
    original = lab.kubectl_json("deployment", "web", "-n", NAMESPACE)
    container = original["spec"]["template"]["spec"]["containers"][0]
    about = {"name": "shown", "namespace": NAMESPACE}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec}
    with objects.applied(lab, pod):
        lab.kubectl("wait", "pod/shown", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s")
        add_container(lab, container["image"])
        lab.kubectl(
            "wait",
            "pod/shown",
            "-n",
            NAMESPACE,
            "--for=jsonpath={.status.ephemeralContainerStatuses[0].state.running}",
            "--timeout=60s",
        )
        (entry,) = told(laptop, "list", "-n", NAMESPACE)
        assert (entry["target"], entry["mode"]) == ("pod/shown", "ephemeral")
        assert (entry["owner"], entry["since"]) == ("alice@laptop", "2026-01-02T03:04:05+00:00")


def add_container(lab, image):
    ours = {
        "name": "towline-alice-1",
        "image": image,
        "command": ["sleep", "600"],
        "env": [
            {"name": "TOWLINE_OWNER", "value": "alice@laptop"},
            {"name": "TOWLINE_SINCE", "value": "2026-01-02T03:04:05+00:00"},
        ],
    }
    lab.kubectl(
        "patch",
        "pod",
        "shown",
        "-n",
        NAMESPACE,
        "--subresource=ephemeralcontainers",
        "-p",
        json.dumps({"spec": {"ephemeralContainers": [ours]}}),
    )
