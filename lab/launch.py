"""Starts the node's processes; run as a program of its own, since it changes namespaces.

The node is a process namespace and a mount namespace: when its first process is killed, the
kernel ends all the others and drops every mount, so that taking the lab down needs no list.

    python -m lab.launch first NAME PROGRAM                the first process
    python -m lab.launch component NAME FIRST_PID LOG ARGV…    one more
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from lab import namespaces
from lab.errors import LabError
from lab.layout import Layout
from lab.namespaces import Kind, MountFlag

# Folders that the node's programs write to and that must not be the machine's own: sockets
# and shims, CNI's records, links to the pods' logs.
_NODE_ONLY = (Path("/run"), Path("/var/lib/cni"), Path("/var/log"))

# Settings that the kubelet makes, and that are the whole machine's: it gets to see them as it
# wants them, sysctl(5).
_KERNEL_SETTINGS = {
    "kernel/keys/root_maxbytes": "25000000",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}


def first(layout: Layout, program: str) -> None:
    """Start the node's first process."""
    namespaces.enter(layout.node_net, Kind.NET)
    namespaces.unshare(Kind.PID | Kind.MOUNT)
    namespaces.follow_host_mounts()
    namespaces.mount("none", "/", flags=MountFlag.REC | MountFlag.SHARED)

    def become() -> None:
        _furnish()
        _detach(layout.logs / "node.log")
        os.execv(program, [layout.title])

    _in_child(become)


def component(layout: Layout, first_pid: int, log: Path, argv: list[str]) -> None:
    """Start one process beside the first; its log is appended to."""
    place = Path(f"/proc/{first_pid}")
    # A mount namespace is entered at its very root, which in a chroot is not where the node is.
    root = os.open(place / "root", os.O_PATH | os.O_CLOEXEC)
    kinds = {"pid": Kind.PID, "net": Kind.NET, "mnt": Kind.MOUNT}
    handles = {os.open(place / "ns" / name, os.O_RDONLY): kind for name, kind in kinds.items()}
    for handle, kind in handles.items():
        namespaces.enter(handle, kind)
    os.fchdir(root)
    os.chroot(".")

    def become() -> None:
        _detach(log)
        os.chdir(layout.node)
        os.execvp(argv[0], argv)

    _in_child(become)


def _in_child(become: Callable[[], None]) -> None:
    """Return when a child has become another program; raise ChildProcessError if it cannot."""
    ready, child_ready = os.pipe()
    if os.fork():
        os.close(child_ready)
        # The pipe ends with the child's exec, or after word of what went wrong.
        if words := os.read(ready, 4096):
            raise ChildProcessError(words.decode())
        return
    try:
        become()
    except BaseException as error:
        os.write(child_ready, repr(error).encode())
        raise


def _furnish() -> None:
    """Give the node what must not be the machine's: /proc, folders for records, settings."""
    namespaces.mount("proc", "/proc", "proc")
    namespaces.unmount_all(Path("/run/netns"))
    for folder in _NODE_ONLY:
        folder.mkdir(exist_ok=True)
        namespaces.mount("tmpfs", folder, "tmpfs")
    for name, value in _KERNEL_SETTINGS.items():
        stand_in = Path("/run/sysctl", name)
        stand_in.parent.mkdir(parents=True, exist_ok=True)
        stand_in.write_text(f"{value}\n")
        namespaces.mount(stand_in, Path("/proc/sys", name), flags=MountFlag.BIND)


def _detach(log: Path) -> None:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(output, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def main(arguments: list[str]) -> None:
    """See the module."""
    what, name, *rest = arguments
    try:
        if what == "first":
            first(Layout(name), rest[0])
        else:
            component(Layout(name), int(rest[0]), Path(rest[1]), rest[2:])
    except (OSError, LabError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
