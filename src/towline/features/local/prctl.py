"""What a process may ask of Linux about the deaths around it (prctl(2)).

The standard library only, as it is to start quickly.
"""

from __future__ import annotations

import ctypes
import os
import signal

# Of linux/prctl.h.
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def end_with_parent(number: signal.Signals, parent: int) -> bool:
    """From now on get a signal when the parent dies; false if that is not `parent` any more.

    The thread that has started this process counts as the parent. Raises OSError.
    """
    _prctl(_PR_SET_PDEATHSIG, number)
    return os.getppid() == parent


def adopt_orphans() -> None:
    """From now on be the parent of descendants whose own parent dies. Raises OSError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
