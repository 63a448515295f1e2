from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.trace import processes
from tests.e2e.trace.processes import Belonging

NOWHERE = 1  # no network namespace has this inode
MARK = "TOWLINE_UNIT_TEST=7"
SLEEP = [sys.executable, "-c", "print(flush=True); input()"]


@contextmanager
def child(**environment):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(SLEEP, env={**os.environ, **environment}, **pipes) as process:
        process.stdout.readline()
        yield process
        process.stdin.close()


def test_view_shows_a_process_with_the_mark_until_it_has_ended():
    with child(TOWLINE_UNIT_TEST="7") as process:
        assert "input()" in processes.view(Belonging(NOWHERE, MARK))[f"process {process.pid}"]
        assert processes.pids(Belonging(NOWHERE, MARK)) == [process.pid]
    assert processes.view(Belonging(NOWHERE, MARK)) == {}


def test_process_is_seen_from_its_very_start():
    """Popen returns in the middle of exec, when the kernel shows no environment yet."""
    for _ in range(50):
        process = subprocess.Popen(["sleep", "60"], env={**os.environ, "TOWLINE_UNIT_TEST": "7"})
        try:
            assert processes.pids(Belonging(NOWHERE, MARK)) == [process.pid]
        finally:
            process.kill()
            process.wait()


def test_view_shows_a_process_in_the_network():
    here = Path("/proc/self/ns/net").stat().st_ino
    with child() as process:
        assert f"process {process.pid}" in processes.view(Belonging(here, MARK))


def test_view_shows_no_others():
    with child(TOWLINE_UNIT_TEST="77"), child(OTHER=MARK):
        assert processes.view(Belonging(NOWHERE, MARK)) == {}


def test_view_does_not_show_this_process():
    here = Path("/proc/self/ns/net").stat().st_ino
    assert f"process {os.getpid()}" not in processes.view(Belonging(here, MARK))


def test_pids_are_of_those_with_the_words_in_their_command():
    with child(TOWLINE_UNIT_TEST="7") as process:
        assert processes.pids(Belonging(NOWHERE, MARK), "input()") == [process.pid]
        assert processes.pids(Belonging(NOWHERE, MARK), "other words") == []
