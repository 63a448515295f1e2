"""What processes and programs weigh."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def resident(pids: Iterable[int]) -> float:
    """Megabytes that they keep in memory, what they share counted by its share (Pss, proc(5))."""
    return sum(_pss(pid) for pid in pids) / 1e6


def seconds(pids: Iterable[int]) -> float:
    """The time of processors that they have used."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / _TICKS


def size(files: Iterable[Path]) -> float:
    """Megabytes of files."""
    return sum(path.resolve().stat().st_size for path in set(files)) / 1e6


def _pss(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    assert found
    return int(found[1]) * 1024
