"""Programs of Debian that are only needed here: unpacked into the cache, never installed.

What is installed would be started, and listen on the machine's own ports.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lab.layout import cache_root
from lab.locks import locked

PACKAGES = ("haproxy", "nginx", "nghttp2-client")

_FOLDER = "benchmark-peers"
_SECONDS = 300


def ensure() -> None:
    """Have the programs in the cache."""
    folder = cache_root() / _FOLDER
    with locked(cache_root() / f"{_FOLDER}.lock"):
        if not (folder / "root").exists():
            _fetch(folder)


def program(name: str) -> str:
    """Where one of them is."""
    found = shutil.which(name, path=f"{_root()}/usr/sbin:{_root()}/usr/bin")
    assert found, f"{name} is in none of {PACKAGES}"
    return found


def environment() -> dict[str, str]:
    """What they need to be started with: their libraries are not where others are."""
    libraries = ":".join(map(str, _root().glob("usr/lib/*-linux-gnu")))
    return {**os.environ, "LD_LIBRARY_PATH": libraries}


def libraries_of(name: str) -> list[Path]:
    """The shared libraries of a program."""
    listed = subprocess.run(
        ["ldd", program(name)], env=environment(), capture_output=True, text=True, check=True
    )
    words = [word for line in listed.stdout.splitlines() for word in line.split()]
    return [Path(word) for word in words if word.startswith("/")]


def _root() -> Path:
    return cache_root() / _FOLDER / "root"


def _fetch(folder: Path) -> None:
    archives, fresh = folder / "archives", folder / "new"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    argv = ["apt-get", "--yes", "-qq", "--no-install-recommends", "--download-only"]
    argv += ["-o", f"Dir::Cache::archives={archives}", "install", *PACKAGES]
    subprocess.run(["apt-get", "-qq", "update"], check=True, timeout=_SECONDS)
    subprocess.run(argv, check=True, timeout=_SECONDS)
    for archive in archives.glob("*.deb"):
        subprocess.run(["dpkg", "-x", archive, fresh], check=True, timeout=_SECONDS)
    fresh.rename(folder / "root")
