"""Linux namespaces and mounts by their system calls: see namespaces(7), mount(2), setns(2)."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import IntFlag
from pathlib import Path
from typing import TypeVar

from lab.errors import LabError

T = TypeVar("T")

_libc = ctypes.CDLL(None, use_errno=True)


class Kind(IntFlag):
    """Kinds of namespaces, with their values in <linux/sched.h>."""

    MOUNT = 0x00020000
    PID = 0x20000000
    NET = 0x40000000


class MountFlag(IntFlag):
    """Flags of mount(2), from <linux/mount.h>."""

    BIND = 1 << 12
    REC = 1 << 14
    SLAVE = 1 << 19
    SHARED = 1 << 20


_MNT_DETACH = 2


def enter(namespace: Path | int, kind: Kind) -> None:
    """Move the calling thread into the namespace, given by its file or by a descriptor of it;
    with Kind.PID, its children to come.
    """
    if isinstance(namespace, int):
        _check(_libc.setns(namespace, ctypes.c_int(kind)), f"namespace {kind.name}")
        return
    fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(fd, ctypes.c_int(kind)), str(namespace))
    finally:
        os.close(fd)


def unshare(kinds: Kind) -> None:
    """Move the calling process into new namespaces."""
    _check(_libc.unshare(ctypes.c_int(kinds)), "unshare")


def mount(source: str | Path, target: str | Path, fs_type: str = "", flags: int = 0) -> None:
    """Mount, bind, or change how mounts propagate."""
    _check(
        _libc.mount(
            os.fsencode(source), os.fsencode(target), fs_type.encode(), ctypes.c_ulong(flags), None
        ),
        str(target),
    )


def unmount_all(target: Path) -> None:
    """Detach whatever is mounted on `target`, however often."""
    while _libc.umount2(os.fsencode(target), _MNT_DETACH) == 0:
        pass


def follow_host_mounts() -> None:
    """After `unshare`: keep our mounts to ourselves, but let the machine's unmounts reach us.

    Without the latter a copy of a mount here would keep alive what the machine let go. Raises
    LabError where the kernel offers no way to it.
    """
    try:
        mount("none", "/", flags=MountFlag.REC | MountFlag.SLAVE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise LabError(
            "The root folder is not a mount point, as in a plain chroot. Before entering it, bind "
            "it onto itself: mount --bind FOLDER FOLDER"
        ) from None


def call_inside(net: Path, function: Callable[[], T]) -> T:
    """The function's result, from a thread in the network namespace `net`."""

    def inside() -> T:
        enter(net, Kind.NET)
        return function()

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(inside).result()


def identity(pid: int | str, kind: str) -> int | None:
    """The number of a process's namespace ('net', 'pid', 'mnt'), or None when it is gone."""
    try:
        return Path(f"/proc/{pid}/ns/{kind}").stat().st_ino
    except OSError:
        return None


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
