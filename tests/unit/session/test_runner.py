import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, os, signal, socket, sys
from towline.errors import AgentError
from towline.session import runner
how = sys.argv[1]
async def main(session):
    if "live" in how:
        session.live()
    try:
        if "error" in how:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        print("up", flush=True)
        if "result" in how:
            session.result(9)
            return
        if "lookup" in how:
            socket.getaddrinfo = lambda *_, **__: os.read(os.pipe()[0], 1)
            await asyncio.get_running_loop().getaddrinfo("web", 80)
        await asyncio.Event().wait()
    finally:
        print("cleaned", flush=True)
async def fail():
    raise AgentError("no agent")
try:
    code = runner.run(main)
except AgentError as error:
    code = error.exit_code
sys.exit(code)
"""


def start(how: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", PROGRAM, how], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("how", "number", "code"),
    [("live", 2, 0), ("starting", 2, 130), ("live", 15, 143), ("live", 1, 129)],
)
def test_signal_ends_in_order_with_its_exit_code(how: str, number: int, code: int) -> None:
    with start(how) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.stdout.readline() == "cleaned\n"
        assert process.wait(10) == code


def test_result_is_the_exit_code() -> None:
    with start("live result") as process:
        assert process.wait(10) == 9


def test_error_in_a_task_group_comes_out_as_itself() -> None:
    with start("error") as process:
        assert process.wait(10) == 6


def test_lookup_that_nobody_answers_keeps_it_from_nothing() -> None:
    """It cannot be interrupted: the C library waits, in a thread."""
    with start("lookup") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(2)
        assert process.stdout.readline() == "cleaned\n"
        assert process.wait(10) == 130


STRAY = """
import asyncio
from towline.session import runner
async def main(session):
    loop = asyncio.get_running_loop()
    stray = loop.create_future()
    stray.set_exception(ZeroDivisionError())
    del stray
    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
    print("up")
runner.run(main)
"""


def test_exception_that_nobody_waits_for_shows_no_traceback() -> None:
    argv = [sys.executable, "-c", STRAY]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "up\n", "")
