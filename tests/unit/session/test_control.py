import asyncio
import os
import subprocess
import sys

from towline.session import control

SESSION = """
import asyncio, os, sys
from towline.session import control
async def main():
    over = asyncio.Event()
    async with control.listen(lambda: {"pid": os.getpid(), "state": "connected"}, over.set):
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
        assert control.ask(session.pid, "status") == {"pid": session.pid, "state": "connected"}
        assert control.stop(session.pid, 10)
        assert session.wait(10) == 0
    assert session.pid not in control.find()


def test_killed_session_is_not_found() -> None:
    with start_session() as session:
        session.kill()
        session.wait(10)
        assert session.pid not in control.find()
        assert control.ask(session.pid, "status") is None


def test_stop_of_a_stuck_session_gives_up() -> None:
    with start_session() as session:
        session.send_signal(19)  # SIGSTOP
        os.waitid(os.P_PID, session.pid, os.WSTOPPED | os.WNOWAIT)
        assert not control.stop(session.pid, 0.05)
        session.kill()


async def test_garbage_gets_no_answer_and_harms_nothing() -> None:
    stopped = []
    async with control.listen(lambda: {"state": "x"}, lambda: stopped.append(1)):
        reader, writer = await asyncio.open_unix_connection(
            f"\0towline/{os.getuid()}/{os.getpid()}"
        )
        writer.write(b"not json\n")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        answer = await asyncio.to_thread(control.ask, os.getpid(), "status")
    assert answer == {"state": "x"}
    assert stopped == []
