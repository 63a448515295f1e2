import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

PROGRAM = """
import asyncio, json, os, signal, socket, sys
from towline.session import background, runner
how = sys.argv[1]
def tell(name, **data):
    print(json.dumps({"event": name, **data}), flush=True)
def serve(leash):
    async def main(session):
        leash.hold(session.stop)
        try:
            tell("progress")
            if "ready" in how:
                session.live()
                tell("ready", pid=os.getpid())
            await asyncio.Event().wait()
        finally:
            print("cleaned", file=sys.stderr, flush=True)
    if "dies" in how:
        os.kill(os.getpid(), signal.SIGKILL)
    if "fails" in how:
        return 6
    if "breaks" in how:
        raise ZeroDivisionError
    return runner.run(main)
given, kept = socket.socketpair()
def on_event(event):
    print(json.dumps(event), flush=True)
sys.exit(background.start(serve, give=given, on_event=on_event))
"""


@contextmanager
def start(how: str, *open_files: int) -> "Iterator[subprocess.Popen[str]]":
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=open_files,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGHUP, 129),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_what_ends_the_one_that_waits_ends_the_session_in_order(number: int, code: int) -> None:
    with start("starting") as process:
        assert process.stdout is not None
        assert "progress" in process.stdout.readline()
        process.send_signal(number)
        # To the end of its output, that is until the session is gone as well.
        _, complaints = process.communicate(timeout=10)
    assert complaints == "cleaned\n"
    assert process.returncode == code


def test_ready_session_stays_and_lets_go_of_what_is_the_callers() -> None:
    lock, held = os.pipe()
    with start("ready", held) as process:
        os.close(held)
        # The session has none of these open any more: all come to their end.
        out, complaints = process.communicate(timeout=10)
        assert os.read(lock, 1) == b""
        os.close(lock)
    assert (process.returncode, complaints) == (0, "")
    pid = int(out.rpartition('"pid": ')[2].rstrip("}\n"))
    with open(f"/proc/{pid}/stat") as stat:
        assert stat.read().rpartition(")")[2].split()[3] == str(pid), "a session of its own"
    assert ended_by_interrupt(pid)


def ended_by_interrupt(pid: int) -> bool:
    process = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGINT)
        return bool(select.select([process], [], [], 10)[0])
    finally:
        os.close(process)


@pytest.mark.parametrize("how", ["dies", "breaks", "fails"])
def test_session_that_does_not_get_ready_is_an_error(how: str) -> None:
    with start(how) as process:
        out, complaints = process.communicate(timeout=10)
    assert out == ""
    if how == "dies":
        assert "ended before it was ready: killed by SIGKILL" in complaints
    assert process.returncode == {"dies": 1, "breaks": 1, "fails": 6}[how]
