import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from towline.session import control

STATUS = {
    "command": "connect",
    "pid": 1,
    "state": "connected",
    "context": "lab",
    "namespace": "default",
    "server": "https://lab",
    "since": "now",
    "ranges": [],
}
NOBODY = 65534

SESSION = f"""
import asyncio, os, sys
from towline.session import control
async def main():
    over = asyncio.Event()
    async with control.listen(lambda: {STATUS}, over.set):
        print("up", flush=True)
        await over.wait()
asyncio.run(main())
"""


def start_session() -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", SESSION], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def test_running_session_is_found_answers_and_stops() -> None:
    with start_session() as session:
        assert session.pid in control.find()
        assert control.status(session.pid) == STATUS
        assert control.stop(session.pid, 10)
        assert session.wait(10) == 0
    assert session.pid not in control.find()


def test_killed_session_is_not_found() -> None:
    with start_session() as session:
        session.kill()
        session.wait(10)
        assert session.pid not in control.find()
        assert control.status(session.pid) is None


def test_stop_of_a_stuck_session_gives_up() -> None:
    with start_session() as session:
        session.send_signal(19)  # SIGSTOP
        os.waitid(os.P_PID, session.pid, os.WSTOPPED | os.WNOWAIT)
        assert not control.stop(session.pid, 0.05)
        session.kill()


@pytest.mark.parametrize("garbage", [b"not json\n", b"[]\n", b"7\n"])
async def test_garbage_stops_nothing(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    stopped = []
    async with control.listen(lambda: STATUS, lambda: stopped.append(1)):
        _, writer = await asyncio.open_unix_connection(f"\0towline/{os.getuid()}/{os.getpid()}")
        writer.write(garbage)
        writer.write_eof()
        assert await asyncio.to_thread(control.status, os.getpid()) == STATUS
        writer.close()
        await writer.wait_closed()
    assert stopped == []
    assert caplog.records == []


@pytest.mark.parametrize("answer", [[], "connected", {}, {**STATUS, "state": None}])
async def test_answer_that_makes_no_sense_is_none(answer: object) -> None:
    async with control.listen(lambda: answer, lambda: None):  # type: ignore[arg-type,return-value]
        assert await asyncio.to_thread(control.status, os.getpid()) is None


@pytest.mark.skipif(os.getuid() != 0, reason="takes two users, and so root")
def test_socket_of_another_user_is_no_session() -> None:
    with start_session() as session:
        with listening_as_nobody("0/1"), listening_as_nobody(f"77/{session.pid}"):
            assert 1 not in control.find()
            assert control.status(1) is None
            assert session.pid in control.find()
            assert control.status(session.pid) == STATUS
        session.kill()


def listening_as_nobody(name: str) -> socket.socket:
    """A socket of the name of somebody else's session."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"\0towline/{name}")
    os.seteuid(NOBODY)
    try:
        listener.listen()
    finally:
        os.seteuid(0)
    return listener


async def test_command_of_the_sessions_own_is_answered_by_it() -> None:
    async def double(request: Mapping[str, Any]) -> dict[str, Any]:
        return {"double": 2 * request["number"]}

    async with control.listen(lambda: STATUS, lambda: None, {"double": double}):
        answer = await asyncio.to_thread(control.ask, os.getpid(), "double", 5, number=21)
        assert answer == {"double": 42}
        assert await asyncio.to_thread(control.ask, os.getpid(), "other", 5) == STATUS
    assert control.ask(os.getpid(), "double", 5, number=21) is None
