"""Finding and ending processes by the namespaces that they live in."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import namespaces
from lab.errors import LabError


@dataclass(frozen=True, slots=True)
class Process:
    """A process as /proc shows it; a zombie has no arguments."""

    pid: int
    arguments: tuple[str, ...]


def all_processes() -> Iterator[Process]:
    """Every process that this one can see and that still runs."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            raw = (entry / "cmdline").read_bytes()
            if raw:
                yield Process(int(entry.name), tuple(os.fsdecode(raw).split("\0")[:-1]))


def inside(kind: str, number: int) -> list[Process]:
    """The processes in the namespace of that kind ('net', 'pid') and number."""
    return [p for p in all_processes() if namespaces.identity(p.pid, kind) == number]


def kill(pids: list[int], timeout_seconds: float = 60) -> None:
    """SIGKILL them and wait until they are gone. Raises LabError when they are not: the kernel
    may have much to take apart, for the first process of a namespace all the others.
    """
    deadline = time.monotonic() + timeout_seconds
    handles = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handles.append(os.pidfd_open(pid))
    try:
        for handle in handles:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        for handle in handles:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([handle], [], [], left)[0]:
                raise LabError(f"Some of {pids} have not ended within {timeout_seconds:.0f} s.")
    finally:
        for handle in handles:
            os.close(handle)
