"""Whoever has few rights, in the cluster or on the laptop, still gets what these allow."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lab.users import CONNECT_RULES, NAMESPACE_ONLY
from tests import documented
from tests.e2e import objects
from tests.e2e.laptop import NOBODY
from tests.e2e.tow import GRACE_SECONDS, connected, starting

RULES = documented.rules("connect")
(SUDOERS_LINE,) = re.findall(r"(?m)^alice ALL=.*", documented.RIGHTS)
EVENTS = {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]}
EXEC_RULES = [
    {**rule, "resources": ["pods/exec"]} if "pods/portforward" in rule["resources"] else rule
    for rule in RULES
]


@pytest.fixture(scope="module", autouse=True)
def users(lab):
    with (
        objects.user(lab, "just-enough", RULES, namespace="team-a"),
        objects.user(lab, "exec-instead", EXEC_RULES, namespace="team-a"),
    ):
        yield


@pytest.fixture(autouse=True)
def trace(users, no_trace):
    return no_trace


def who_answers(laptop, url, *options):
    done = laptop.run("curl", "-sS", "--max-time", "10", *options, url)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["name"]


def test_user_of_the_lab_may_do_what_is_documented_and_no_more():
    assert list(CONNECT_RULES) == [*RULES, EVENTS]


@pytest.mark.parametrize("name", [NAMESPACE_ONLY, "just-enough", "exec-instead"])
def test_user_of_one_namespace_reaches_services_by_name(lab, laptop, name):
    """Who may not read the cluster's ranges has them led there one by one, as names are asked."""
    file = laptop.input(name, lab.kubeconfig(name).read_text())
    with connected(laptop, "-c", file, "-n", "team-a") as session:
        assert session.ready()["namespace"] == "team-a"
        for family in ("-4", "-6"):
            assert who_answers(laptop, "http://web", family) == "team-web"
            assert who_answers(laptop, "http://web.other-ns", family) == "other-web"
            assert who_answers(laptop, "http://web.default.svc", family) == "web"
            assert who_answers(laptop, "http://db-1.db.default:8080", family) == "db"
        address = objects.addresses_of_service(lab, "web", "team-a")[0]
        assert who_answers(laptop, f"http://{address}") == "team-web"


def test_killed_session_whose_link_goes_by_exec_leaves_nothing(lab, laptop, trace):
    trace.allow_grace(GRACE_SECONDS)
    file = laptop.input("exec-instead", lab.kubeconfig("exec-instead").read_text())
    with starting(laptop, "-c", file, "-n", "team-a") as session:
        session.ready()
        session.process.kill()
        session.end()


def test_check_says_that_the_link_goes_by_exec(lab, laptop):
    file = laptop.input("exec-instead", lab.kubeconfig("exec-instead").read_text())
    done = laptop.run(laptop.tow, "check", "-c", file, "-n", "team-a", "-o", "json")
    assert done.returncode == 0, done.stdout
    warnings = [f for f in json.loads(done.stdout) if f["verdict"] == "warning"]
    assert any("pods/portforward" in w["what"] and "commands" in w["hint"] for w in warnings)


@pytest.fixture
def sudoer(laptop, installed):
    """An ordinary user whom sudo lets do what towline says it needs, and nothing else."""
    sudoers = laptop.inputs / "sudoers"
    sudoers.unlink(missing_ok=True)
    sudoers.write_text(f"nobody ALL=(root) NOPASSWD: {told_command(laptop, installed)}\n")
    sudoers.chmod(0o440)
    return replace(laptop, account=NOBODY, tow=installed, covers=((Path("/etc/sudoers"), sudoers),))


def told_command(laptop, program):
    """The command that sudo must allow, as the program's own hint has it."""
    python = program.read_text().partition("\n")[0].removeprefix("#!")
    tell = "from towline.redirect import launch; print(launch.DENIED_HINT)"
    hint = laptop.run(python, "-c", tell).stdout
    return re.search(r"sudoers allow: (.*)", hint)[1]


def test_documented_line_of_sudoers_is_what_the_program_tells(laptop, installed):
    tools = installed.resolve().parents[2]
    documented = SUDOERS_LINE.replace("/home/alice/.local/share/uv/tools", str(tools))
    assert documented.partition("NOPASSWD: ")[2] == told_command(laptop, installed)


@pytest.mark.skipif(not Path("/usr/bin/sudo").exists(), reason="this machine has no sudo")
class TestOrdinaryUser:
    def test_only_the_helper_is_root(self, lab, sudoer):
        with connected(sudoer) as session:
            assert who_answers(sudoer, "http://web") == "web"
            assert Path(f"/proc/{session.pid}").stat().st_uid == NOBODY.uid
            (helper,) = session.helpers()
            assert Path(f"/proc/{helper}").stat().st_uid == 0
            names = [
                Path(f"/proc/{pid}/comm").read_text().strip()
                for pid in objects.children_of(session.pid)
            ]
            assert names == [], "sudo is not kept waiting"

    def test_killed_session_takes_the_root_helper_along(self, sudoer, trace):
        trace.allow_grace(GRACE_SECONDS)
        with starting(sudoer) as session:
            session.ready()
            session.process.kill()
            session.end()

    def test_own_sessions_are_seen_and_ended(self, sudoer):
        with connected(sudoer) as session:
            status = sudoer.run(sudoer.tow, "status", "-o", "json")
            assert [each["pid"] for each in json.loads(status.stdout)] == [session.pid]
            assert sudoer.run(sudoer.tow, "disconnect").returncode == 0
            assert session.end() == 0

    def test_session_in_the_background(self, sudoer):
        done = sudoer.run(sudoer.tow, "connect", "--detach", "--grace", str(GRACE_SECONDS))
        assert done.returncode == 0, done.stderr
        assert who_answers(sudoer, "http://web") == "web"
        assert sudoer.run(sudoer.tow, "disconnect").returncode == 0

    def test_sessions_of_others_are_not_ended(self, laptop, sudoer):
        with connected(laptop) as session:
            done = sudoer.run(sudoer.tow, "disconnect", str(session.pid))
            assert done.returncode == 8
            with pytest.raises(subprocess.TimeoutExpired):
                session.process.wait(0.5)
