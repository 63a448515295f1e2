"""A program that ends with its session, whatever ends that, and all that it has started."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from towline.errors import TowlineError
from towline.features.local import supervisor
from towline.features.local.child import Child

SECONDS = 20.0
FOREVER = "import signal; signal.pause()"
# Starts one that has left it, and tells that one's process id.
LEAVING = (
    "import os, sys, time\n"
    "if os.fork(): os.wait(); {then}\n"
    "os.setsid()\n"
    "if os.fork(): os._exit(0)\n"
    "open(sys.argv[1], 'w').write(f'{{os.getpid()}} ')\n"
    "time.sleep(1000)"
)


def until(look: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def pid_in(file: Path) -> int:
    until(lambda: file.exists() and file.read_text().endswith(" "), "it to have started")
    return int(file.read_text())


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(3)", 3),
        ("import os; os.kill(os.getpid(), 15)", 143),
        ("import os; os.kill(os.getpid(), 9)", 137),
    ],
)
async def test_exit_code_is_the_programs(code: str, wanted: int) -> None:
    async with asyncio.timeout(SECONDS), Child(python(code)) as child:
        assert await child.ended() == wanted


async def test_its_output_and_errors_are_where_they_are_wanted(
    capfd: pytest.CaptureFixture[str],
) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr)"
    async with asyncio.timeout(SECONDS), Child(python(code)) as child:
        await child.ended()
    assert capfd.readouterr() == ("out\n", "err\n")
    async with asyncio.timeout(SECONDS), Child(python(code), stdout=2) as child:
        await child.ended()
    out, err = capfd.readouterr()
    assert out == ""
    assert sorted(err.splitlines()) == ["err", "out"]


async def test_program_finds_signals_and_descriptors_as_any_other(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = (
        "import os, signal, sys\n"
        "names = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGCHLD']\n"
        "ignored = [n for n in names if signal.getsignal(getattr(signal, n)) == signal.SIG_IGN]\n"
        "descriptors = sorted(map(int, os.listdir('/proc/self/fd')))[:-1]\n"
        "open(sys.argv[1], 'w').write(f'{ignored} {descriptors}')"
    )
    async with asyncio.timeout(SECONDS), Child(python(code, told)) as child:
        await child.ended()
    assert told.read_text() == "[] [0, 1, 2]"


async def test_leaving_ends_it_in_order(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = (
        "import os, signal, sys\n"
        "def end(*_): open(sys.argv[1], 'w').write('ended'); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "open(sys.argv[1], 'w').write(f'{os.getpid()} ')\n"
        "while True: signal.pause()"
    )
    async with asyncio.timeout(SECONDS), Child(python(code, file)):
        pid = await asyncio.to_thread(pid_in, file)
    assert file.read_text() == "ended"
    assert not is_running(pid)


async def test_what_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "open(sys.argv[1], 'w').write(f'{os.getpid()} ')\n"
        "while True: signal.pause()"
    )
    async with asyncio.timeout(SECONDS), Child(python(code, file)):
        pid = await asyncio.to_thread(pid_in, file)
    assert not is_running(pid)


@pytest.mark.parametrize("then", ["time.sleep(1000)", "sys.exit()"], ids=["runs", "has ended"])
async def test_nothing_that_has_left_the_program_stays(tmp_path: Path, then: str) -> None:
    file = tmp_path / "pid"
    code = LEAVING.format(then=then)
    async with asyncio.timeout(SECONDS), Child(python(code, file)):
        pid = await asyncio.to_thread(pid_in, file)
    assert not is_running(pid)


@pytest.mark.parametrize("killed", ["session", "supervisor"])
def test_killing_takes_the_program_along(tmp_path: Path, killed: str) -> None:
    file = tmp_path / "pid"
    code = "import os, sys, time; open(sys.argv[1], 'w').write(f'{os.getpid()} '); time.sleep(1000)"
    tie, ours = os.pipe()
    argv = [sys.executable, "-P", "-m", supervisor.__name__, str(tie), *python(code, file)]
    process = subprocess.Popen(argv, pass_fds=(tie,))
    os.close(tie)
    pid = pid_in(file)
    if killed == "supervisor":
        process.kill()
    else:
        os.close(ours)
    process.wait(SECONDS)
    until(lambda: not is_running(pid), "it to be gone")
    if killed == "supervisor":
        os.close(ours)


async def test_exit_code_tells_of_a_signal_also_when_what_sees_to_it_was_killed() -> None:
    async with Child(python(FOREVER)) as child:
        assert child._process
        child._process.kill()
        assert await asyncio.wait_for(child.ended(), SECONDS) == 128 + signal.SIGKILL


def test_signals_of_the_terminal_are_for_the_program(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = (
        "import os, sys, time\n"
        "open(sys.argv[1], 'w').write(f'{os.getpid()} ')\n"
        "try: time.sleep(1000)\n"
        "except KeyboardInterrupt: sys.exit(7)"
    )
    tie, ours = os.pipe()
    argv = [sys.executable, "-P", "-m", supervisor.__name__, str(tie), *python(code, file)]
    process = subprocess.Popen(argv, pass_fds=(tie,), start_new_session=True)
    os.close(tie)
    pid_in(file)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(SECONDS) == 7
    os.close(ours)


def test_program_that_is_not_there_is_named() -> None:
    with pytest.raises(TowlineError, match="no-such-program") as caught:
        Child(["no-such-program"])
    assert caught.value.exit_code == 127


async def test_program_that_cannot_be_run_after_all_has_a_shells_code(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    async with asyncio.timeout(SECONDS), Child([str(script)]) as child:
        assert await child.ended() == 127
    assert str(script) in capfd.readouterr().err


async def test_step_is_given_up_when_the_program_ends_meanwhile() -> None:
    cancelled = asyncio.Event()

    async def step() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with asyncio.timeout(SECONDS), Child(python("raise SystemExit(5)")) as child:
        with pytest.raises(TowlineError, match="has ended, with exit code 5") as caught:
            await child.outlive(step())
    assert caught.value.exit_code == 5
    assert cancelled.is_set()


async def test_step_may_end_first() -> None:
    async def step() -> str:
        return "done"

    async with asyncio.timeout(SECONDS), Child(python(FOREVER)) as child:
        assert await child.outlive(step()) == "done"


async def test_without_a_command_there_is_nothing_to_end() -> None:
    async with Child([]) as child:
        assert not child
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(child.ended(), 0.01)
