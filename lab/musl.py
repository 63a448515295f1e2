"""Programs on musl, as in Alpine's images, compiled once into the cache by PyPI's Zig."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from pathlib import Path

from lab import progress, wheels
from lab.errors import LabError
from lab.layout import SOURCE, cache_root
from lab.locks import locked

_ZIG_VERSION = "0.15.2"


def program(name: str) -> Path:
    """The program that `musl/NAME.c` is the source of; built unless it is. Raises LabError."""
    source = SOURCE / "musl" / f"{name}.c"
    digest = hashlib.sha256(source.read_bytes() + _ZIG_VERSION.encode()).hexdigest()[:12]
    target = cache_root() / "programs" / f"musl-{name}-{digest}" / name
    with locked(target.parent.with_suffix(".lock"), f"Another lab is compiling {name}; waiting."):
        if not target.exists():
            _compile(source, target)
    return target


def _compile(source: Path, target: Path) -> None:
    root = cache_root() / "zig"
    zig = wheels.installed("ziglang", _ZIG_VERSION, root / _ZIG_VERSION) / "ziglang" / "zig"
    kept = {f"ZIG_{which}_CACHE_DIR": str(root / "cache") for which in ("LOCAL", "GLOBAL")}
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    argv = [str(zig), "cc", "-target", f"{platform.machine()}-linux-musl", "-static", "-O1"]
    with progress.counting(f"Compiling {target.name} for musl"):
        done = subprocess.run(
            [*argv, "-o", str(fresh), str(source)],
            env=dict(os.environ) | kept,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise LabError(f"{source} could not be compiled: {done.stderr.strip()}")
    fresh.rename(target)
