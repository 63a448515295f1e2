"""What commands print: text for people, one JSON object a line for machines."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lab.programs import KUBERNETES_VERSION
from lab.users import NAMESPACE_ONLY
from tests.e2e import objects
from tests.e2e.tow import GRACE, connected, starting
from towline.redirect.resolved import SOCKET

pytestmark = pytest.mark.usefixtures("no_trace")


def test_text_is_one_line_when_it_is_ready(laptop):
    argv = [laptop.tow, "connect", GRACE]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
    with laptop.start(argv, **pipes) as process:
        line = process.stdout.readline()
        process.send_signal(2)
        rest, complaints = process.communicate(timeout=30)
    assert line.startswith("Connected to lab/default in ")
    for words in ("web.other-ns", "10.96.0.0/16", "fd00:10:96::/112", "Ctrl-C"):
        assert words in line
    assert (process.returncode, rest) == (0, "")
    # Without a terminal, only what takes long has a line of its own.
    assert all(told.startswith("Waiting for ") for told in complaints.splitlines())
    assert "\x1b" not in line + complaints


def test_json_is_one_object_a_line(laptop):
    with connected(laptop, "-n", "other-ns") as session:
        ready = session.ready()
    names = [event["event"] for event in session.events]
    assert names == ["progress"] * (len(names) - 1) + ["ready"]
    assert all(event["message"] for event in session.events)
    assert ready["pid"] == session.pid
    assert (ready["context"], ready["namespace"]) == ("lab", "other-ns")
    assert ready["device"].startswith("tow")
    assert set(ready["ranges"]) == {
        "10.96.0.0/16",
        "fd00:10:96::/112",
        "10.244.0.0/24",
        "fd00:10:244::/64",
    }


def test_json_error_is_an_event(laptop):
    with starting(laptop, "--context", "nosuch") as session:
        error = session.error()
    assert error["summary"]
    assert error["hint"]
    assert error["exit_code"] == session.process.returncode


def test_agent_is_labelled_and_says_whose_it_is(lab, laptop):
    with connected(laptop) as session:
        (job,) = objects.agents(lab)
        pod = objects.pod_of_agent(lab, session.ready())
    assert pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    assert job["metadata"]["annotations"]["towline/owner"].startswith("root@")
    assert job["spec"]["ttlSecondsAfterFinished"] == 0


def test_status_says_how_it_is_doing(laptop):
    with connected(laptop) as session:
        (status,) = json.loads(laptop.run(laptop.tow, "status", "-o", "json").stdout)
        text = laptop.run(laptop.tow, "status").stdout
    ready = session.ready()
    momentary = {"streams", "tasks", "received", "sent", "round_trip"}
    lasting = status.keys() - momentary
    assert {key: status[key] for key in lasting} == {key: ready[key] for key in lasting}
    assert all(status[key] >= 0 for key in momentary if status[key] is not None)
    for words in (str(session.pid), "connected", "lab/default", "10.96.0.0/16"):
        assert words in text


@pytest.mark.parametrize("color", [{}, {"NO_COLOR": "1"}, {"TERM": "xterm-256color"}])
def test_no_escape_codes_without_a_terminal(laptop, color):
    environment = laptop.environment(**color)
    for arguments in (
        ["--help"],
        ["connect", "--help"],
        ["check"],
        ["status"],
        ["disconnect"],
        ["connect", "--context", "nosuch"],
    ):
        done = laptop.run(laptop.tow, *arguments, env=environment)
        assert "\x1b" not in done.stdout + done.stderr, arguments


def test_check_finds_nothing_wrong(laptop):
    done = laptop.run(laptop.tow, "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "PROBLEM" not in done.stdout
    assert all(line.split()[0] in ("ok", "note", "→") for line in done.stdout.splitlines())


def test_check_in_json(laptop):
    done = laptop.run(laptop.tow, "check", "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    for name in ("cluster", "rights", "routes", "dns", "agents"):
        assert findings[name]["verdict"] == "ok", findings[name]


def test_check_tells_of_missing_rights(lab, laptop):
    file = laptop.input(NAMESPACE_ONLY, lab.kubeconfig(NAMESPACE_ONLY).read_text())
    own = laptop.run(laptop.tow, "check", "-c", file, "-n", "team-a")
    assert own.returncode == 0, own.stdout
    assert "nodes" in own.stdout
    others = laptop.run(laptop.tow, "check", "-c", file, "-n", "default", "-o", "json")
    assert others.returncode == 1
    problems = [f for f in json.loads(others.stdout) if f["verdict"] == "problem"]
    assert {"rights"} == {problem["name"] for problem in problems}
    assert all(problem["hint"] for problem in problems)
    assert any("jobs" in problem["what"] for problem in problems)


@contextmanager
def route(laptop, network):
    """A route of the laptop's own meanwhile, as a VPN sets it."""
    assert laptop.run("ip", "route", "add", network, "dev", "eth0").returncode == 0
    try:
        yield
    finally:
        laptop.run("ip", "route", "delete", network, "dev", "eth0")


def test_check_tells_of_a_route_into_a_range_of_the_cluster(laptop):
    with route(laptop, "10.96.7.0/24"):
        done = laptop.run(laptop.tow, "check", "-o", "json")
    assert done.returncode == 0, "it can be lived with"
    (finding,) = [f for f in json.loads(done.stdout) if f["name"] == "routes"]
    assert finding["verdict"] == "warning"
    for words in ("10.96.7.0/24", "10.96.0.0/16", "eth0"):
        assert words in finding["what"]
    assert finding["hint"]


def test_check_tells_of_a_cluster_that_does_not_answer(laptop):
    def change(config):
        config["clusters"][0]["cluster"]["server"] = "https://10.99.0.1:1"

    file = laptop.kubeconfig_with("silent", change)
    done = laptop.run(laptop.tow, "check", "-c", file, "-o", "json")
    assert done.returncode == 1
    (problem,) = [f for f in json.loads(done.stdout) if f["verdict"] == "problem"]
    assert problem["name"] == "cluster"
    assert problem["hint"]


def test_check_sees_the_agents_of_running_sessions(laptop):
    with connected(laptop) as session:
        done = laptop.run(laptop.tow, "check")
    assert session.ready()["agent"].rpartition("-")[0] in done.stdout


def test_check_tells_of_a_systemd_resolved_that_cannot_be_led(laptop):
    nsswitch = laptop.input("nsswitch.conf", "hosts: files resolve [!UNAVAIL=return] dns\n")
    covered = replace(laptop, covers=((Path("/etc/nsswitch.conf"), nsswitch),))
    script = (
        "import os, shutil, socket, subprocess, sys\n"
        f"os.makedirs({str(SOCKET.parent)!r})\n"
        "listening = socket.socket(socket.AF_UNIX)\n"
        f"listening.bind({str(SOCKET)!r})\n"
        "listening.listen()\n"
        f"code = subprocess.call([{str(laptop.tow)!r}, 'check', '-o', 'json'])\n"
        f"shutil.rmtree({str(SOCKET.parents[1])!r})\n"
        "sys.exit(code)"
    )
    done = covered.run(sys.executable, "-c", script)
    assert done.returncode == 1
    (problem,) = [found for found in json.loads(done.stdout) if found["verdict"] == "problem"]
    assert problem["name"] == "dns"
    assert "resolvectl" in problem["what"]
    assert "/etc/nsswitch.conf" in problem["hint"]


def test_check_names_the_version_of_the_cluster(laptop):
    done = laptop.run(laptop.tow, "check", "-o", "json")
    (cluster,) = [found for found in json.loads(done.stdout) if found["name"] == "cluster"]
    assert KUBERNETES_VERSION in cluster["what"]
