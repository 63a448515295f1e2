"""The node as a machine: switched on, off, and asked what runs on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys

from lab import cgroups, namespaces, processes
from lab.errors import LabError
from lab.layout import Layout


def first_pid(layout: Layout) -> int | None:
    """The node's first process, or None when the node is off."""
    for process in processes.all_processes():
        if process.arguments == (layout.title,):
            return process.pid
    return None


def switch_on(layout: Layout) -> None:
    """Start the node with an empty disk, unless it is on and in the lab's network."""
    pid = first_pid(layout)
    if pid is not None and namespaces.identity(pid, "net") == layout.node_net.stat().st_ino:
        return
    switch_off(layout)
    shutil.rmtree(layout.node, ignore_errors=True)
    layout.node.mkdir(parents=True)
    layout.logs.mkdir(exist_ok=True)
    cgroups.ensure(layout)
    _launch("first", layout.name, str(layout.programs / "pause"))


def switch_off(layout: Layout) -> None:
    """End every process of the node, and with them its mounts and pods."""
    pid = first_pid(layout)
    if pid is not None:
        processes.kill([pid])
    cgroups.remove(layout)


def running(layout: Layout) -> list[processes.Process]:
    """The node's processes, pods' included; none when it is off."""
    pid = first_pid(layout)
    number = None if pid is None else namespaces.identity(pid, "pid")
    return [] if number is None else processes.inside("pid", number)


def start(layout: Layout, name: str, argv: list[str]) -> None:
    """Start a program on the node; its output goes to the log of that name."""
    pid = first_pid(layout)
    if pid is None:
        raise LabError("The node is off.")
    log = layout.logs / f"{name}.log"
    _launch("component", layout.name, str(pid), str(log), *argv)


def end_visitors(layout: Layout) -> None:
    """End what others started in the lab's network namespaces."""
    visitors = []
    for net in (layout.node_net, layout.laptop_net):
        with contextlib.suppress(OSError):
            visitors += processes.inside("net", net.stat().st_ino)
    processes.kill([p.pid for p in visitors])


def _launch(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lab.launch", *arguments],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=_plain_environment(),
    )
    if done.returncode != 0:
        raise LabError(f"'{' '.join(arguments)}' did not start: {done.stderr.strip()}")


def _plain_environment() -> dict[str, str]:
    """What the node's programs may see: no proxies, tokens or settings of the caller."""
    return {
        "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        # The checkout that lab's own programs run from may be somebody else's.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
