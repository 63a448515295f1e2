"""A program that a session runs: it is waited for, answers, and both end with the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.cluster import Lab
from tests.e2e import objects
from tests.e2e.answering import program
from tests.e2e.exchanging import answerer, await_answerer, exchanging
from tests.e2e.laptop import Laptop
from tests.e2e.tow import GRACE, GRACE_SECONDS, Session, starting
from tests.e2e.trace import processes
from tests.e2e.waiting import until

NOT_FOUND = 127
# What ignores SIGTERM is killed after five.
GONE_SECONDS = 15

# Listens once a file is there; tells its name, then gives back what it gets. It ends with 7 when it
# is interrupted, with 8 when it is to end, and takes its time for that.
SERVER = """
import os, signal, socket, sys, threading, time

port, gate = int(sys.argv[1]), sys.argv[2]
signal.signal(signal.SIGINT, lambda *_: os._exit(7))
signal.signal(signal.SIGTERM, lambda *_: (print("is to end", flush=True), os._exit(8)))
print("begins", flush=True)
while not os.path.exists(gate):
    time.sleep(0.05)

def converse(client):
    try:
        with client:
            client.sendall(b"ran")
            while data := client.recv(1 << 16):
                client.sendall(data)
    except OSError:
        pass

listening = socket.create_server(("127.0.0.1", port))
while True:
    threading.Thread(target=converse, args=(listening.accept()[0],), daemon=True).start()
"""

pytestmark = pytest.mark.usefixtures("no_trace")


class Server:
    """The program that a session is to run, with what opens its gate."""

    def __init__(self, laptop: Laptop) -> None:
        self._laptop = laptop
        self._script = laptop.input("server.py", SERVER)
        self._gate = laptop.inputs / "gate"
        with program(laptop) as free:
            self.port = free.port

    @property
    def arguments(self) -> list[str]:
        return [f"--expose={self.port}:80", "--", *self.command]

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(self._script), str(self.port), str(self._gate)]

    def open(self) -> None:
        self._gate.touch()

    def close(self) -> None:
        self._gate.unlink(missing_ok=True)

    def pid(self) -> int:
        """Its process id once it runs; the supervisor's command has the same words."""

        def look() -> int:
            found = processes.pids(self._laptop.belonging, str(self._script))
            return next((pid for pid in found if is_its(pid)), 0)

        def is_its(pid: int) -> bool:
            return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1] == os.fsencode(
                self._script
            )

        return until(look, 30, "the program to run")

    def await_end(self) -> None:
        until(
            lambda: not processes.pids(self._laptop.belonging, str(self._script)),
            GONE_SECONDS,
            "the program to be gone",
        )


@pytest.fixture
def server(laptop: Laptop) -> Iterator[Server]:
    made = Server(laptop)
    yield made
    made.close()


@contextmanager
def answering(lab: Lab, laptop: Laptop, server: Server) -> Iterator[Session]:
    """A session whose program answers."""
    server.open()
    with exchanging(laptop, "web", *server.arguments) as session:
        session.ready()
        await_answerer(lab, "ran")
        yield session


def version(lab: Lab) -> str:
    return lab.kubectl_json("service", "web")["metadata"]["resourceVersion"]


def test_switch_waits_for_the_program(lab, laptop, server):
    before = version(lab)
    with exchanging(laptop, "web", *server.arguments) as session:
        session.told(f"to listen on localhost:{server.port}")
        assert server.command[1] in session.event("waiting")["message"]
        assert version(lab) == before
        server.open()
        session.ready()
        await_answerer(lab, "ran")
        assert not [each for each in session.events if each["event"] == "unserved"]
        session.interrupt()
        assert session.end() == 0
        server.await_end()
    await_answerer(lab, "web")


def test_session_ends_with_the_program_and_its_exit_code(lab, laptop, server):
    with answering(lab, laptop, server) as session:
        os.kill(server.pid(), signal.SIGTERM)
        assert session.end() == 8
        assert session.event("exited")["code"] == 8
        # What the program said is out of the way of the events.
        assert session.stderr == "begins\nis to end\n"
    await_answerer(lab, "web")


def test_program_that_ends_before_it_listens_ends_all(lab, laptop, server):
    before = version(lab)
    with exchanging(laptop, "web", *server.arguments) as session:
        session.told("to listen")
        os.kill(server.pid(), signal.SIGKILL)
        error = session.error()
        assert error["exit_code"] == 128 + signal.SIGKILL
        assert server.command[1] in error["summary"]
    assert version(lab) == before


def test_program_that_ends_while_the_agent_starts_ends_all(lab, laptop):
    arguments = ("--expose=8080:80", "--", "sh", "-c", "exit 3")
    with exchanging(laptop, "web", *arguments) as session:
        error = session.error()
        assert error["exit_code"] == 3
        assert "'sh -c 'exit 3'' has ended, with exit code 3" in error["summary"]


def test_program_that_is_not_there_is_named_before_anything_is_done(lab, laptop):
    with exchanging(laptop, "web", "--", "no-such-program") as session:
        error = session.error()
        assert error["exit_code"] == NOT_FOUND
        assert "no-such-program" in error["summary"]
        assert [each["event"] for each in session.events] == ["error"]


def test_program_does_not_begin_for_a_target_that_is_none(laptop):
    with exchanging(laptop, "no-such-service", "--", "sh", "-c", "echo begun") as session:
        session.error()
        assert "begun" not in session.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_program_does_not_outlive_the_session(lab, laptop, server, no_trace, number):
    no_trace.allow_grace(GRACE_SECONDS)
    with answering(lab, laptop, server) as session:
        session.process.send_signal(number)
        code = session.process.wait(30)
        assert code == (-number if number == signal.SIGKILL else 128 + number)
        server.await_end()
        session.end()
        assert session.stderr == "begins\nis to end\n"
    await_answerer(lab, "web")


def test_nor_does_it_while_it_is_waited_for(lab, laptop, server, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    with exchanging(laptop, "web", *server.arguments) as session:
        session.told("to listen")
        session.process.kill()
        session.process.wait(30)
        server.await_end()


def test_deleted_job_is_no_trap_while_the_program_is_waited_for(lab, laptop, server):
    before = version(lab)
    with exchanging(laptop, "web", *server.arguments) as session:
        session.event("waiting")
        (job,) = objects.agents(lab)
        lab.kubectl("delete", "job", job["metadata"]["name"], "--wait=false")
        assert "Job was deleted" in session.error()["summary"]
    assert version(lab) == before


def test_stdout_is_the_programs_and_narration_is_marked(lab, laptop, server):
    server.open()
    process = laptop.start(
        [laptop.tow, "exchange", GRACE, "web", *server.arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        until(lambda: answerer(lab, addresses(lab)[0]) == "ran", 60, "answers")
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == "begins\n"
    (ready,) = [line for line in err.splitlines() if "live in" in line]
    assert ready.startswith("tow: svc/web in ")


def addresses(lab):
    return objects.addresses_of_service(lab, "web")


def test_program_has_the_terminals_input(laptop):
    """What is said to `tow` is said to the program."""
    process = laptop.start(
        [
            laptop.tow,
            "exchange",
            GRACE,
            "web",
            "--expose=8080:80",
            "--",
            "sh",
            "-c",
            "read x; exit $x",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        _, err = process.communicate("9\n", timeout=60)
    assert process.returncode == 9, err


def test_mirror_runs_a_program_too(lab, laptop, server):
    server.open()
    with starting(laptop, "web", *server.arguments, command="mirror") as session:
        session.ready()
        await_answerer(lab, "web")
        os.kill(server.pid(), signal.SIGTERM)
        assert session.end() == 8


def test_what_is_after_the_dashes_must_be_a_program(laptop):
    done = laptop.run(laptop.tow, "exchange", "web", "--")
    assert done.returncode == 2
    assert "no program" in done.stderr
