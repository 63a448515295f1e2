"""Nothing is left of a session that ends in order, on whatever occasion."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
from contextlib import contextmanager, suppress

import pytest

from tests.e2e import objects
from tests.e2e.outage import REFUSAL, SILENCE, outage
from tests.e2e.tow import END_SECONDS, GRACE, GRACE_SECONDS, connected, starting
from tests.e2e.waiting import until

pytestmark = pytest.mark.usefixtures("no_trace")

# Telling the API server may take 5 s when it does not answer, and be tried no longer.
OUTAGE_END_SECONDS = 15


def test_ctrl_c_is_its_normal_end(lab, laptop):
    with connected(laptop) as session:
        assert len(objects.agents(lab)) == 1
        session.interrupt()
        assert session.end() == 0
        assert objects.agents(lab) == [], "the Job is gone before the session is"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signal_ends_it_in_order(lab, laptop, number, code):
    with starting(laptop) as session:
        session.ready()
        session.process.send_signal(number)
        assert session.end() == code
        assert session.stderr == ""
        assert objects.agents(lab) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signal_ends_it_while_it_starts(lab, laptop, number, code):
    with starting(laptop) as session:
        session.step(1)
        session.process.send_signal(number)
        assert session.end() == code
        assert session.stderr == ""
        assert objects.agents(lab) == []


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ended", "killed"])
def test_programs_see_the_end_of_their_connections(lab, laptop, no_trace, number, busy):
    """Also those for which more is under way than they have read."""
    no_trace.allow_grace(GRACE_SECONDS)
    host = objects.addresses_of_service(lab, "sample")[0]
    with starting(laptop) as session:
        session.ready()
        with laptop.connect_to(host, 7002) as client:
            client.sendall(b"d" if busy else b"ex")
            assert client.recv(1)
            if busy:
                until(lambda: waiting_bytes(client) > 1 << 16, 10, "data to be under way")
            session.process.send_signal(number)
            session.process.wait(END_SECONDS)
            with suppress(ConnectionResetError):
                while client.recv(1 << 16):
                    pass


def waiting_bytes(client):
    """How much has arrived that was not read yet (ioctl FIONREAD, tcp(7))."""
    return struct.unpack("i", fcntl.ioctl(client, termios.FIONREAD, bytes(4)))[0]


def test_end_with_connections_being_made(lab, laptop):
    host = objects.addresses_of_service(lab, "blackhole")[0]
    with connected(laptop) as session:
        waiting = laptop.start(["curl", "-sS", "--max-time", "60", f"http://{host}"])
        until(lambda: session_sees_dial(laptop), 10, "a connection to be waiting")
        session.interrupt()
        assert session.end() == 0
        waiting.kill()
        waiting.wait()


def session_sees_dial(laptop):
    rows = laptop.run("ss", "-Htn", "state", "syn-sent").stdout
    return rows.strip()


@pytest.mark.parametrize("stream", ["stdout", "stderr", "both"])
def test_reader_of_its_output_that_is_gone_is_no_obstacle(laptop, stream):
    """As in `tow connect | head -1`."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    argv = [laptop.tow, "-v", "connect", "--output", "json", GRACE]
    with laptop.start(argv, start_new_session=True, **pipes) as process:
        assert any('"ready"' in line for line in iter(process.stdout.readline, ""))
        logged = threading.Thread(target=process.stderr.read, daemon=True)
        if stream == "stdout":
            logged.start()
        else:
            process.stderr.close()
        if stream != "stderr":
            process.stdout.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(END_SECONDS) == 0
        if stream == "stdout":
            logged.join()


@contextmanager
def on_a_terminal(laptop, *arguments):
    """A tow on a terminal of its own, as in a window; gives the window's end of it, a file."""
    descriptor, terminal = pty.openpty()
    window = os.fdopen(descriptor, "r+b", buffering=0)

    def take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = laptop.start(
        [laptop.tow, *arguments],
        env=laptop.environment(TERM="xterm-256color"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(terminal)
    try:
        yield process, window
    finally:
        process.kill()
        process.wait()
        window.close()


def read_until(window, words):
    said = b""
    while words not in said:
        piece = window.read(4096)
        assert piece
        said += piece
    return said


def test_ctrl_c_typed_into_its_terminal(laptop):
    with on_a_terminal(laptop, "connect", GRACE) as (process, window):
        read_until(window, b"Connected to lab/default")
        window.write(b"\x03")
        with suppress(OSError):  # EIO: nobody has the terminal open any more
            assert b"Traceback" not in read_until(window, b"Traceback")
        assert process.wait(END_SECONDS) == 0


def test_terminal_that_is_closed(lab, laptop):
    with on_a_terminal(laptop, "connect", GRACE) as (process, window):
        read_until(window, b"Connected to lab/default")
        window.close()
        assert process.wait(END_SECONDS) == 129
        assert objects.agents(lab) == []


def test_terminal_that_is_closed_while_it_starts(laptop):
    with on_a_terminal(laptop, "connect", GRACE) as (process, window):
        read_until(window, b"Waiting for")
        window.close()
        assert process.wait(END_SECONDS) == 129


@pytest.mark.parametrize("verdict", [SILENCE, REFUSAL])
def test_api_server_that_is_gone_while_it_ends(laptop, no_trace, verdict):
    """It says that the agent is still there, and for how long; and so it is."""
    no_trace.allow_grace(GRACE_SECONDS)
    with starting(laptop) as session:
        session.ready()
        with outage(laptop, verdict):
            session.interrupt()
            code = session.end(OUTAGE_END_SECONDS)
        assert (code, "ends by itself" in session.stderr) == (6, True), session.events


def test_second_ctrl_c_ends_it_on_the_spot(laptop, no_trace):
    """For who does not want to wait for an API server that does not answer."""
    no_trace.allow_grace(GRACE_SECONDS)
    with starting(laptop) as session:
        session.ready()
        with outage(laptop, SILENCE):
            session.interrupt()
            with pytest.raises(subprocess.TimeoutExpired):
                session.process.wait(1)
            session.interrupt()
            assert session.end(2) == 130


def test_closing_stdin_means_nothing(laptop):
    with connected(laptop, stdin=subprocess.PIPE) as session:
        session.process.stdin.close()
        assert laptop.run("curl", "-sS", "--max-time", "10", "http://web").returncode == 0
