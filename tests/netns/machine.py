"""The namespace that a test runs in: entering it, looking at it, changing it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_VIEWS = (
    "nft list ruleset",
    "ip -o link",
    "ip -o address",
    "ip -4 route show table all",
    "ip -6 route show table all",
    "ip -4 rule",
    "ip -6 rule",
)
_PATIENCE_SECONDS = 10


def enter_new_namespace():
    _check(_libc.unshare(_CLONE_NEWNET))


def enter_namespace(descriptor):
    _check(_libc.setns(descriptor, _CLONE_NEWNET))


def run(commands, **options):
    """Run shell commands; gives their output, and fails when they do."""
    done = subprocess.run(
        ["sh", "-ec", commands], capture_output=True, text=True, timeout=30, check=False, **options
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
    return done.stdout


def load_rules(rules):
    """Load rules in nft's language."""
    run("nft -f -", input=rules)


def snapshot():
    """All that a session could leave behind, as text by view; and the processes in here."""
    views = {view: run(view) for view in _VIEWS}
    return {**views, "processes": sorted(processes())}


def assert_becomes(before):
    """Wait until the machine is as it was; shows the difference when it does not."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (now := snapshot()) != before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert now == before


def processes(containing=""):
    """Live processes of this namespace, other than the tests': process id and command line."""
    here = Path("/proc/thread-self/ns/net").stat().st_ino
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if (entry / "ns/net").stat().st_ino == here and command and containing in command:
                found[int(entry.name)] = command
    return found


def helpers():
    """Process ids of the helpers in this namespace."""
    return [
        pid
        for pid, command in processes("towline.redirect.helper").items()
        if "sudo" not in command
    ]


def end_processes():
    """End what a failed test left running in its namespace."""
    for pid in processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _check(result):
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_libc = ctypes.CDLL(None, use_errno=True)
