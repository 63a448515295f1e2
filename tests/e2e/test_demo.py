"""`make demo` shows what it says, and leaves nothing however it ends."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest

from lab.layout import CHECKOUT
from tests.e2e.tow import END_SECONDS, READY_SECONDS, connected
from tests.e2e.waiting import until

pytestmark = pytest.mark.usefixtures("no_trace")

DEMO = [sys.executable, "-m", "lab.demo"]
SECONDS = 150


@pytest.fixture
def demo():
    """Gives a function that starts the demo on the lab, with a folder first on its PATH."""
    started = []

    def start(folder=""):
        environment = {name: os.environ[name] for name in os.environ if name != "KUBECONFIG"}
        environment["PATH"] = f"{folder}:{environment['PATH']}".removeprefix(":")
        started.append(
            subprocess.Popen(
                DEMO,
                cwd=CHECKOUT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def curl_that(tmp_path):
    """Gives a function that makes a folder with a curl that does something else."""

    def make(does):
        program = tmp_path / "curl"
        program.write_text(f"#!/bin/sh\n{does}\n")
        program.chmod(0o755)
        return tmp_path

    return make


def test_on_the_lab(demo):
    process = demo()
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    for words in (
        "Connected to lab/default",
        '"name": "web"',
        '"name": "other-web"',
        '"name": "db"',
        "port 7999",
        "resolve host: nothing-there",
        "connected  lab/default",
        "has ended.",
        "No resources found",
    ):
        assert words in said, said
    assert "\x1b[1m" not in said
    assert "not to be expected" not in said


def test_step_that_fails(demo, curl_that):
    process = demo(curl_that("exit 7"))
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1, said
    assert "Connected to lab/default" in said
    assert said.index("not to be expected") > said.rindex("$ curl -sS http://web")
    assert "has ended." in said


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_cut_short(demo, curl_that, number, code):
    """While a step runs, when the session is there."""
    process = demo(curl_that('case "$*" in *-m*) exit 7; esac; echo waiting; exec sleep 300'))
    until(lambda: process.stdout.readline() == "waiting\n", READY_SECONDS, "the step to run")
    os.killpg(process.pid, number)
    said, _ = process.communicate(timeout=END_SECONDS)
    assert process.returncode == code, said
    assert "has ended." in said
    assert "Traceback" not in said


def own_environment(laptop, **changes):
    environment = laptop.environment(**changes)
    return {**environment, "PATH": f"{laptop.tow.parent}:{environment['PATH']}"}


def test_on_a_cluster_of_ones_own(laptop):
    done = laptop.run(*DEMO, env=own_environment(laptop), seconds=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("ok      rights", "Connected to lab/default", '"gitVersion"', "has ended."):
        assert words in done.stdout


def test_session_that_runs_already_is_left_alone(laptop):
    with connected(laptop) as session:
        done = laptop.run(*DEMO, env=own_environment(laptop))
        assert done.returncode == 1
        assert "running already" in done.stderr
        assert session.process.poll() is None


@pytest.mark.parametrize(("setting", "coloured"), [("", True), ("1", False)])
def test_colours_on_a_terminal_are_for_those_who_want_them(laptop, setting, coloured):
    """Its first step fails here, which is enough to see."""
    environment = own_environment(laptop, KUBECONFIG="/nonexistent", NO_COLOR=setting)
    window, terminal = pty.openpty()
    with laptop.start(DEMO, environment, stdout=terminal, stderr=subprocess.DEVNULL) as process:
        assert process.wait(END_SECONDS) == 1
    os.close(terminal)
    said = os.read(window, 1 << 16)
    os.close(window)
    assert b"What would not work here?" in said
    assert (b"\x1b" in said) is coloured
