"""The session as an ordinary user's process: only the helper is root, by the real sudo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.netns import machine, ordinary
from tests.netns.ordinary import FREELY, LOGGED, NOT_AT_ALL, PASSWORD, UID, WITH_PASSWORD, Terminal

pytestmark = pytest.mark.usefixtures("traceless")

SESSION = Path(__file__).with_name("session.py")


@pytest.fixture
def terminal(tmp_path):
    """Gives a function that starts the session on a terminal, under rules of sudo."""
    started = []

    def start(rules, *arguments):
        command = ordinary.command(tmp_path, rules, SESSION, *arguments)
        started.append(Terminal(command))
        return started[-1]

    yield start
    for each in started:
        with suppress(OSError):
            os.kill(each.pid, signal.SIGKILL)
            os.waitpid(each.pid, 0)
        with suppress(OSError):
            each.hang_up()


@pytest.fixture
def without_terminal(tmp_path):
    """Gives a function that starts the session without a terminal, under rules of sudo."""
    started = []

    def start(rules, *arguments):
        command = ordinary.command(tmp_path, rules, SESSION, *arguments)
        started.append(
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def user_of(pid):
    return Path(f"/proc/{pid}").stat().st_uid


def test_session_is_the_users_and_only_the_helper_is_root(without_terminal):
    process = without_terminal(FREELY)
    assert process.stdout.readline() == "ready\n"
    assert user_of(process.pid) == UID
    (helper,) = machine.helpers()
    assert user_of(helper) == 0
    assert machine.processes("sudo") == {}
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    assert machine.helpers() == []


@pytest.mark.parametrize(
    ("rules", "hint"), [(WITH_PASSWORD, "sudo -v"), (NOT_AT_ALL, "sudo -v"), (LOGGED, "log_input")]
)
def test_refusal_of_sudo_is_said_with_what_to_do(without_terminal, rules, hint):
    process = without_terminal(rules)
    _, complained = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "could not be started as root" in complained
    assert hint in complained


def test_password_is_asked_for_on_the_terminal(terminal):
    session = terminal(WITH_PASSWORD)
    session.wait_for("password")
    session.type("wrong\n")
    session.wait_for("try again(?s:.*)password")
    session.type(PASSWORD + "\n")
    session.wait_for("ready")
    session.type("\x03")
    assert session.wait() == 130


def test_interrupt_at_the_password_ends_it(terminal):
    session = terminal(WITH_PASSWORD)
    session.wait_for("password")
    session.type("\x03")
    assert session.wait() in {1, 130}


def test_interrupt_reaches_the_session_and_not_the_helper(terminal):
    session = terminal(FREELY, "--shrug")
    session.wait_for("ready")
    for _ in range(2):
        session.type("\x03")
        session.wait_for("interrupted")
        assert len(machine.helpers()) == 1
    os.kill(session.pid, signal.SIGTERM)
    session.wait()


def test_closed_terminal_ends_session_and_helper(terminal):
    session = terminal(FREELY)
    session.wait_for("ready")
    session.hang_up()
    assert session.wait() == -signal.SIGHUP


def test_terminal_is_as_before_while_connected(terminal):
    """sudo may set the terminal raw for its command: it must have set it back."""
    session = terminal(FREELY, "--terminal")
    flags = json.loads(session.wait_for(r"\{.*\}")[0])
    assert flags["before"] == flags["connected"]
    session.type("\x03")
    session.wait()
