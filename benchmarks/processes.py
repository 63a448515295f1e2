"""What processes need, the product's and the cluster's: memory, time of processors, descriptors;
and the time of `tow --help`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import weights
from benchmarks.ground import Ground, with_byte_code
from benchmarks.ways import tow_command

CLUSTERS = ("kube-apiserver", "kubelet", "containerd")
"""Those through which a link by the API goes."""


def memory(ground: Ground, ready: dict[str, Any]) -> dict[str, float]:
    """Resident megabytes (VmRSS, proc(5)) of a session, its helper and its agent.

    `ready` is the session's ready event.
    """
    return {name: _resident(pid) for name, pid in of_session(ground, ready).items()}


def descriptors(ground: Ground, ready: dict[str, Any]) -> dict[str, int]:
    """How many descriptors they have open."""
    pids = of_session(ground, ready)
    return {name: len(list(Path(f"/proc/{pid}/fd").iterdir())) for name, pid in pids.items()}


def of_session(ground: Ground, ready: dict[str, Any]) -> dict[str, int]:
    """The processes of the one session that there is."""
    found = {"session": int(ready["pid"])}
    for pid, argv in _processes():
        if "towline.redirect.helper" in argv and ground.is_on_laptop(pid):
            found["helper"] = pid
        elif argv[0].startswith("python") and _hostname(pid) == ready["agent"]:
            found["agent"] = pid
    return found


def of_cluster(ground: Ground) -> dict[str, int]:
    """The processes of the node through which a link by the API goes."""
    running = ground.lab.status()
    return {name: pid for name in CLUSTERS if (pid := running[name]) is not None}


def seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """The time of processors that each has used so far."""
    return {name: weights.seconds([pid]) for name, pid in pids.items()}


def help_seconds(times: int) -> float:
    """How long `tow --help` takes: the median, after one run that writes the byte code."""
    env = with_byte_code(os.environ)
    samples = []
    for _ in range(1 + times):
        began = time.perf_counter()
        subprocess.run([tow_command(), "--help"], env=env, check=True, capture_output=True)
        samples.append(time.perf_counter() - began)
    return statistics.median(samples[1:])


def _processes() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                argv = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            yield int(entry.name), argv


def _hostname(pid: int) -> str:
    """The name of the pod that a process is in."""
    try:
        return Path(f"/proc/{pid}/root/etc/hostname").read_text().strip()
    except OSError:
        return ""


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6
