"""All that a file says comes up together, and ends together, whatever ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
import yaml

from tests.e2e.answering import program
from tests.e2e.exchanging import await_answerer
from tests.e2e.tow import GRACE_SECONDS, Session
from tests.e2e.trace import processes
from tests.e2e.waiting import until

INTERRUPTED = 130
NOT_FOUND = 4
GONE_SECONDS = 20
# Tells its name, then gives back what it gets.
SERVER = """
import socket, sys, threading

def converse(client):
    with client:
        client.sendall(b"ran")
        while data := client.recv(1 << 16):
            client.sendall(data)

listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    threading.Thread(target=converse, args=(listening.accept()[0],), daemon=True).start()
"""
# Needs the names of the cluster.
WORKER = "curl -sS --max-time 10 http://web.other-ns && exec sleep 600"

pytestmark = pytest.mark.usefixtures("no_trace")


class Up(Session):
    """A `tow up` under way."""

    def all_ready(self):
        """Wait until everything is there."""
        self._wait(
            lambda: next((e for e in self.events if is_of_all(e)), None), 60, "everything is up"
        )

    def said(self, entry):
        """What the program of an entry has written so far."""
        lines = [e for e in self.events if e["event"] == "output" and e["entry"] == entry]
        return "".join(e["line"] for e in lines)


def is_of_all(event):
    return event["event"] == "ready" and "entry" not in event


@contextmanager
def starting(laptop, **entries):
    """What has just been started by a file with these entries."""
    file = laptop.input("towline.yaml", yaml.safe_dump({"grace": GRACE_SECONDS, **entries}))
    process = laptop.start(
        [laptop.tow, "up", "-o", "json", "-f", file],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    session = Up(laptop, process)
    try:
        yield session
    finally:
        session.close()


@contextmanager
def everything(lab, laptop):
    """The uplink, an exchange with its program, and a program that needs them; all is ready."""
    script = laptop.input("up-server.py", SERVER)
    with program(laptop) as free:
        port = free.port
    exchange = {
        "target": "web",
        "expose": f"{port}:80",
        "run": [sys.executable, str(script), str(port)],
    }
    run = {"name": "worker", "command": ["sh", "-c", WORKER]}
    with starting(laptop, connect=None, exchange=exchange, run=run) as session:
        session.all_ready()
        await_answerer(lab, "ran")
        yield session
        until(lambda: not running(laptop, script), GONE_SECONDS, "all programs to be gone")


def running(laptop, script):
    """Whatever of it runs: the sessions, and the programs."""
    words = ("towline.cli.tethered", str(script), WORKER)
    return [pid for word in words for pid in processes.pids(laptop.belonging, word)]


def test_everything_comes_up_together_and_ends_with_an_interrupt(lab, laptop):
    with everything(lab, laptop) as session:
        until(lambda: "other-web" in session.said("run worker"), 30, "an answer for the worker")
        sessions = json.loads(laptop.run(laptop.tow, "status", "-o", "json").stdout)
        assert {each["command"] for each in sessions} == {"connect", "exchange"}
        session.interrupt()
        assert session.end() == 0
        assert session.stderr == ""
    await_answerer(lab, "web")


def test_entries_that_share_have_one_agent(laptop):
    forward = {"target": "sample", "ports": ["0:7000"], "share": True}
    with starting(laptop, connect={"share": True}, forward=forward) as session:
        session.all_ready()
        sessions = json.loads(laptop.run(laptop.tow, "status", "-o", "json").stdout)
        assert {each["command"] for each in sessions} == {"connect", "forward"}
        assert len({each["agent"] for each in sessions}) == 1
        session.interrupt()
        assert session.end() == 0
        assert session.stderr == ""


def test_killed_it_takes_everything_along(lab, laptop):
    with everything(lab, laptop) as session:
        session.process.kill()
        session.end()
    await_answerer(lab, "web")


def test_second_interrupt_ends_it_on_the_spot(lab, laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    with everything(lab, laptop) as session:
        session.interrupt()
        session.interrupt()
        assert session.end() in (0, INTERRUPTED)  # 0 if all had ended in order by then
    await_answerer(lab, "web")


def test_session_that_is_killed_ends_the_others(lab, laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    with everything(lab, laptop) as session:
        (pid,) = [
            e["pid"] for e in session.events if e.get("entry") == "exchange web" and "pid" in e
        ]
        os.kill(pid, signal.SIGKILL)
        assert session.error()["summary"] == "exchange web was killed."
    await_answerer(lab, "web")


def test_error_of_one_is_that_of_all(laptop):
    with starting(laptop, connect=None, exchange={"target": "no-such-service"}) as session:
        error = session.error()
    assert error["exit_code"] == NOT_FOUND
    assert error["summary"].startswith("exchange no-such-service: There is no no-such-service")
