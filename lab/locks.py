"""A lock between processes that is let go when its holder ends, in whatever way."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import progress


@contextmanager
def locked(path: Path, waiting: str = "") -> Iterator[None]:
    """Hold the lock. `waiting` is said when somebody else holds it; the holder may unlink it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _acquire(handle, waiting)
            if _is_file(handle, path):
                yield
                return
        finally:
            os.close(handle)


def _acquire(handle: int, waiting: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if waiting:
            progress.say(waiting)
        fcntl.flock(handle, fcntl.LOCK_EX)


def _is_file(handle: int, path: Path) -> bool:
    """Whether the path still names the locked file."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.fstat(handle).st_ino == there.st_ino
