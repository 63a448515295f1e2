"""The cgroup below which the kubelet puts the pods: one per lab, since kubelets that share
one remove each other's pods. Both cgroup versions, see cgroups(7).
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from lab.errors import LabError
from lab.layout import Layout

_ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS_V2 = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")
_REMOVE_SECONDS = 60


def ensure(layout: Layout) -> None:
    """Make the cgroup under every hierarchy."""
    if (_ROOT / "cgroup.controllers").exists():
        _ensure_v2(layout)
    else:
        _ensure_v1(layout)


def remove(layout: Layout) -> None:
    """Remove it with all below; its processes must have been killed."""
    deadline = time.monotonic() + _REMOVE_SECONDS
    while left := _folders(layout):
        for folder in left:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if time.monotonic() > deadline:
            raise LabError(f"The cgroup {left[-1]} is still in use.")
        time.sleep(0.05)


def _folders(layout: Layout) -> list[Path]:
    """All cgroups of the lab, the deepest first."""
    tops = [_ROOT / layout.title, *_ROOT.glob(f"*/{layout.title}")]
    found = [path for top in tops if top.is_dir() for path in (top, *top.rglob("*/"))]
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def _ensure_v2(layout: Layout) -> None:
    """Hand the controllers down to the lab's cgroup, and from there to the pods."""
    group = _ROOT / layout.title
    group.mkdir(exist_ok=True)
    for parent in (_ROOT, group):
        present = (parent / "cgroup.controllers").read_text().split()
        for controller in set(present).intersection(_CONTROLLERS_V2):
            try:
                (parent / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError as error:
                raise LabError(
                    f"Cannot pass the cgroup controller '{controller}' on to pods: {error}."
                ) from None


def _ensure_v1(layout: Layout) -> None:
    for hierarchy in _ROOT.iterdir():
        if not (hierarchy / "tasks").exists():
            continue
        group = hierarchy / layout.title
        group.mkdir(exist_ok=True)
        # A cpuset begins empty, and no process may enter an empty one.
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (group / name).exists():
                (group / name).write_text((hierarchy / name).read_text())
