"""Gives up all of root's capabilities but the two that the helper lives by.

The standard library only.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

_NET_ADMIN, _NET_RAW = 12, 13
_KEPT = 1 << _NET_ADMIN | 1 << _NET_RAW

# Of linux/capability.h and linux/prctl.h.
_CAPABILITY_VERSION = 0x20080522
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_LAST_CAPABILITY = Path("/proc/sys/kernel/cap_last_cap")


def keep_network_only() -> None:
    """Keep CAP_NET_ADMIN and CAP_NET_RAW (capabilities(7)); also what it runs gets no more.

    Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    for each in range(int(_LAST_CAPABILITY.read_text()) + 1):
        if not _KEPT >> each & 1:
            # Refused in some containers, which have a narrow set already.
            libc.prctl(_PR_CAPBSET_DROP, each, 0, 0, 0)
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    data = ctypes.create_string_buffer(24)
    _check(libc.capget(header, data))
    words = struct.unpack("=6I", data.raw)  # effective, permitted, inheritable: low, then high
    kept = [word & _KEPT for word in words[:2]]
    _check(libc.capset(header, struct.pack("=6I", *kept, 0, 0, 0, 0)))


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
