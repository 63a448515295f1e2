"""Runs a program, and sees to it that nothing of it outlives the session that wanted it.

A process of its own, between the session and the program, so that this holds whatever ends the
session: `python -m towline.features.local.supervisor DESCRIPTOR PROGRAM [ARG…]`. The end of file
on the descriptor means that the program is to end. The exit code is the program's, 128 plus the
number of the signal that ended it, 126 or 127 if it could not be started.

It is the subreaper of its descendants (prctl(2)): what a program leaves behind becomes its child.
The standard library only, as it is to start quickly.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from towline.features.local.prctl import adopt_orphans, end_with_parent

# What has been asked to end (SIGTERM) has so long until it is killed; that is waited for, too.
TERM_SECONDS = 5.0
KILL_SECONDS = 2.0
# As for shells: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html, 2.8.2.
NOT_EXECUTABLE, NOT_FOUND = 126, 127
_SIGNALLED = 128

# The terminal sends these to its whole foreground group: to the program as well, and to the
# session, whose word counts.
_NOT_FOR_US = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)
_AGAIN_SECONDS = 0.1


def main(argv: list[str]) -> int:
    """Run `argv[1:]` until it ends or the descriptor `argv[0]` does; returns the exit code."""
    tie, program = int(argv[0]), argv[1:]
    os.set_inheritable(tie, False)
    adopt_orphans()
    children = _Children()
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _NOT_FOR_US}
    pid = _start(program, before)
    while pid not in children.codes:
        if tie in children.wait(tie):
            break
    _end_all(children)
    return children.codes.get(pid, _SIGNALLED + signal.SIGKILL)


class _Children:
    """The processes that are ours to wait for. `codes` has the exit code of each that has ended."""

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        self.left = True
        self._woken, wakening = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wakening, False)
        signal.set_wakeup_fd(wakening, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def wait(self, *readable: int, seconds: float | None = None) -> list[int]:
        """Wait until one ends, or one of some descriptors is readable: gives those that are."""
        found, _, _ = select.select([*readable, self._woken], [], [], seconds)
        with suppress(BlockingIOError):
            os.read(self._woken, 1 << 12)
        self.reap()
        return found

    def reap(self) -> None:
        """Take note of those that have ended."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                code = os.waitstatus_to_exitcode(status)
                self.codes[pid] = code if code >= 0 else _SIGNALLED - code
        except ChildProcessError:
            self.left = False


def _start(program: list[str], dispositions: Mapping[signal.Signals, object]) -> int:
    supervisor = os.getpid()
    pid = os.fork()
    if not pid:
        _be(program, supervisor, dispositions)
    return pid


def _be(
    program: list[str], supervisor: int, dispositions: Mapping[signal.Signals, object]
) -> NoReturn:
    """Become the program, which is killed when the supervisor is."""
    code = NOT_EXECUTABLE
    try:
        for number, disposition in dispositions.items():
            if disposition is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # which Python ignores
        if end_with_parent(signal.SIGKILL, supervisor):  # else it was gone before that
            os.execvp(program[0], program)  # noqa: S606 (a program is what is meant)
    except OSError as error:
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        os.write(2, f"{program[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(code)


def _end_all(children: _Children) -> None:
    """End all descendants, and return when they are gone."""
    _signal_all(signal.SIGTERM)
    _signal_all(signal.SIGCONT)  # what is stopped could not act upon that
    _wait_for_all(children, TERM_SECONDS, lambda: None)
    # Again and again, as there may be new ones. One of another user's stays.
    _wait_for_all(children, KILL_SECONDS, lambda: _signal_all(signal.SIGKILL))


def _wait_for_all(children: _Children, seconds: float, meanwhile: Callable[[], None]) -> None:
    deadline = time.monotonic() + seconds
    children.reap()
    while children.left and time.monotonic() < deadline:
        meanwhile()
        children.wait(seconds=_AGAIN_SECONDS)


def _signal_all(number: signal.Signals) -> None:
    for pid in _descendants():
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _descendants() -> list[int]:
    """All processes below this one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # proc(5): the name in brackets may hold anything; state and parent follow it.
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                children.setdefault(int(parent), []).append(int(entry.name))
    found = children.get(os.getpid(), [])
    for pid in found:
        found += children.get(pid, [])
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
