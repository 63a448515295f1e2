"""Several sessions on one laptop, in the foreground and in the background."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from tests.e2e import objects
from tests.e2e.tow import GRACE, GRACE_SECONDS, connected, starting
from tests.e2e.waiting import until

SESSION_ERROR = 8
# curl's own exit code.
COULD_NOT_RESOLVE = 6


@pytest.fixture(scope="module")
def elsewhere(lab):
    """A service of a name that only the other namespace has."""
    with objects.serving(lab, objects.service("elsewhere", "other-ns", "web")):
        yield


@pytest.fixture(autouse=True)
def trace(elsewhere, no_trace):
    return no_trace


def curl(laptop, host):
    return laptop.run("curl", "-sS", "--max-time", "10", f"http://{host}")


def who_answers(laptop, host):
    """The name of the program behind a host."""
    done = curl(laptop, host)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["name"]


def statuses(laptop):
    done = laptop.run(laptop.tow, "status", "--output", "json")
    assert done.returncode == 0, done.stderr
    return {status["namespace"]: status for status in json.loads(done.stdout)}


@pytest.mark.parametrize("first_ends", [True, False])
@pytest.mark.parametrize("kill", [False, True], ids=["ended", "killed"])
def test_two_namespaces_at_once_and_either_outlives_the_other(laptop, trace, first_ends, kill):
    trace.allow_grace(GRACE_SECONDS)
    with starting(laptop, "-n", "default") as first, starting(laptop, "-n", "other-ns") as second:
        first.ready()
        second.ready()
        assert who_answers(laptop, "sample:8080") == "sample"
        assert who_answers(laptop, "elsewhere") == "other-web"
        assert who_answers(laptop, "web.default") == "web"
        assert who_answers(laptop, "web.team-a") == "team-web"
        assert set(statuses(laptop)) == {"default", "other-ns"}

        ends, stays = (first, second) if first_ends else (second, first)
        ends.process.send_signal(signal.SIGKILL if kill else signal.SIGINT)
        ends.end()
        only, gone = ("elsewhere", "sample:8080") if first_ends else ("sample:8080", "elsewhere")
        assert who_answers(laptop, only)
        assert curl(laptop, gone).returncode == COULD_NOT_RESOLVE
        assert who_answers(laptop, "web") == ("other-web" if first_ends else "web")

        stays.interrupt()
        assert stays.end() == 0


def test_second_session_for_the_same_namespace_is_refused(laptop):
    with connected(laptop) as session, starting(laptop) as second:
        error = second.error()
        assert error["exit_code"] == SESSION_ERROR
        assert str(session.pid) in error["summary"]
        assert f"tow disconnect {session.pid}" in error["hint"]
        assert who_answers(laptop, "web") == "web"


def test_background_session_works_until_it_is_disconnected(lab, laptop):
    started = laptop.run(laptop.tow, "connect", "--detach", GRACE)
    assert started.returncode == 0, started.stderr
    assert "Connected to lab/default" in started.stdout
    assert "tow disconnect" in started.stdout
    assert who_answers(laptop, "web") == "web"

    status = statuses(laptop)["default"]
    assert (status["state"], status["context"]) == ("connected", "lab")
    assert os.path.exists(f"/proc/{status['pid']}")
    assert os.getsid(status["pid"]) == status["pid"], "it is on no terminal"

    ended = laptop.run(laptop.tow, "disconnect")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert str(status["pid"]) in ended.stdout
    # It has ended; whoever inherited it takes its exit code a moment later.
    until(lambda: not os.path.exists(f"/proc/{status['pid']}"), 5, "the process to be gone")
    assert objects.agents(lab) == []


def test_background_session_that_is_killed(laptop, trace):
    trace.allow_grace(GRACE_SECONDS)
    done = laptop.run(laptop.tow, "connect", "-d", "-o", "json", GRACE)
    ready = json.loads(done.stdout.splitlines()[-1])
    assert ready["event"] == "ready"
    os.kill(ready["pid"], signal.SIGKILL)


def test_background_session_that_cannot_start_says_why(laptop):
    done = laptop.run(laptop.tow, "connect", "--detach", "-n", "nosuch", GRACE)
    assert done.returncode not in (0, 1)
    assert done.stdout == ""
    assert "nosuch" in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGHUP, 129),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_interrupted_while_a_background_session_starts(lab, laptop, number, code):
    """Whoever is watching the start goes; so does what has been started, in order."""
    argv = [laptop.tow, "connect", "--detach", "--output", "json", GRACE]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
    with laptop.start(argv, **pipes) as process:
        assert process.stdout.readline()
        process.send_signal(number)
        # Until the session has ended, too, which has the same standard error.
        _, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (code, "")
    assert objects.agents(lab) == []


def test_options_in_one_word_and_a_folder_with_names_of_the_library(laptop):
    """A session in the background is of the same program, wherever that is called."""
    (laptop.home / "secrets.py").write_text("raise SystemExit('this is not of the library')\n")
    script = f"cd {laptop.home} && exec {laptop.tow} connect -dn other-ns {GRACE}"
    done = laptop.run("sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert set(statuses(laptop)) == {"other-ns"}
    assert laptop.run(laptop.tow, "disconnect").returncode == 0
    (laptop.home / "secrets.py").unlink()


def test_disconnect_by_number_and_all(laptop):
    for namespace in ("default", "other-ns", "team-a"):
        done = laptop.run(laptop.tow, "connect", "--detach", GRACE, "-n", namespace)
        assert done.returncode == 0, done.stderr
    running = statuses(laptop)
    assert set(running) == {"default", "other-ns", "team-a"}

    unclear = laptop.run(laptop.tow, "disconnect")
    assert unclear.returncode == 2
    assert str(running["team-a"]["pid"]) in unclear.stderr
    one = laptop.run(laptop.tow, "disconnect", str(running["team-a"]["pid"]), "-o", "json")
    assert json.loads(one.stdout) == {"event": "ended", "pid": running["team-a"]["pid"]}
    assert set(statuses(laptop)) == {"default", "other-ns"}
    everything = laptop.run(laptop.tow, "disconnect", "--all")
    assert (everything.returncode, len(everything.stdout.splitlines())) == (0, 2)
    assert statuses(laptop) == {}


def test_disconnect_without_a_session_says_so(laptop):
    done = laptop.run(laptop.tow, "disconnect")
    assert done.returncode == SESSION_ERROR
    assert "tow connect" in done.stderr


def test_status_of_no_session(laptop):
    assert statuses(laptop) == {}
    assert "No session" in laptop.run(laptop.tow, "status").stdout


def test_sessions_of_another_machine_are_not_seen(lab, laptop):
    """Those of another network namespace, that is."""
    with connected(laptop):
        done = lab.run_in_node([str(laptop.tow), "status", "-o", "json"])
        assert json.loads(done.stdout) == []
