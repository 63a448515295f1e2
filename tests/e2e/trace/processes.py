"""Processes that belong to a test: by the network they are in, or by a mark they inherited."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.trace.snapshot import View

_COMMAND_CHARACTERS = 200


@dataclass(frozen=True)
class Belonging:
    """Which processes are meant: those in a network namespace (its inode), and those that have
    `mark` (NAME=value) in the environment they were started with.
    """

    network: int
    mark: str


def view(belonging: Belonging, proc: Path = Path("/proc")) -> View:
    """Their commands by process id."""
    return {
        f"process {entry.name}": _command(entry)[:_COMMAND_CHARACTERS]
        for entry in _entries(belonging, proc)
    }


def pids(belonging: Belonging, containing: str = "", proc: Path = Path("/proc")) -> list[int]:
    """Their ids, of those with some text in the command line."""
    found = (entry for entry in _entries(belonging, proc) if containing in _command(entry))
    return sorted(int(entry.name) for entry in found)


def _entries(belonging: Belonging, proc: Path) -> Iterator[Path]:
    """This process itself is none of them, whatever its threads do; nor are zombies."""
    for entry in proc.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if _command(entry) and _is_meant(belonging, entry):
                yield entry
        except OSError:  # gone meanwhile
            continue


def _is_meant(belonging: Belonging, entry: Path) -> bool:
    if (entry / "ns/net").stat().st_ino == belonging.network:
        return True
    return belonging.mark.encode() in (entry / "environ").read_bytes().split(b"\0")


def _command(entry: Path) -> str:
    try:
        # A process that becomes another program has no command line for a moment, and no
        # environment; what never has one is a zombie or the kernel's.
        while not (words := (entry / "cmdline").read_bytes()) and _has_memory(entry):
            pass
    except OSError:
        return ""
    return words.replace(b"\0", b" ").decode(errors="replace")


def _has_memory(entry: Path) -> bool:
    return "VmSize:" in (entry / "status").read_text()
