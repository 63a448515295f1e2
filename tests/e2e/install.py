"""The wheel, built and installed as its users do.

What it depends on comes from the package index, in the versions of uv.lock.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lab.layout import CHECKOUT

# An index that has stalled is asked anew.
_TRIES = 3
_TRY_SECONDS = 80
_PIPX = "pipx==1.8.0"


def build(folder: Path) -> Path:
    """Build the wheel into a folder."""
    _uv("build", "--wheel", "--out-dir", str(folder), str(CHECKOUT))
    (wheel,) = folder.glob("*.whl")
    return wheel


def with_uv_tool(wheel: Path, folder: Path) -> Path:
    """Install it by `uv tool install`; gives the program."""
    places = {"UV_TOOL_DIR": str(folder / "tools"), "UV_TOOL_BIN_DIR": str(folder / "bin")}
    versions = ("--constraints", str(_locked_versions(folder)))
    _uv("tool", "install", "--python", _python(), *versions, str(wheel), **places)
    return folder / "bin" / "tow"


def with_pip(wheel: Path, folder: Path) -> Path:
    """Install it by pip into a fresh virtual environment; gives the program."""
    _uv("venv", "--clear", "--seed", "--python", _python(), str(folder))
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    _persistently([*pip, "--constraint", str(_locked_versions(folder)), str(wheel)], {})
    return folder / "bin" / "tow"


def with_pipx(wheel: Path, folder: Path) -> Path:
    """Install it by `pipx install`; gives the program."""
    places = {"PIPX_HOME": str(folder / "home"), "PIPX_BIN_DIR": str(folder / "bin")}
    versions = f"--constraint {_locked_versions(folder)}"
    pipx = ("tool", "run", "--from", _PIPX, "pipx", "install", "--force", "--python", _python())
    _uv(*pipx, f"--pip-args={versions}", str(wheel), **places)
    return folder / "bin" / "tow"


def _locked_versions(folder: Path) -> Path:
    """A file with the versions of uv.lock, as pip understands it."""
    folder.mkdir(exist_ok=True)
    file = folder / "constraints.txt"
    what = ("--frozen", "--no-dev", "--no-emit-project", "--no-hashes", "--quiet")
    _uv("export", *what, "--project", str(CHECKOUT), "--output-file", str(file))
    return file


def _uv(*arguments: str, **environment: str) -> None:
    uv = os.environ.get("UV") or shutil.which("uv")
    assert uv, "the tests are run by uv"
    _persistently([uv, *arguments], environment)


def _persistently(argv: list[str], environment: dict[str, str]) -> None:
    # The environment of the tests themselves is not the one that is meant.
    clean = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    patient = {"UV_HTTP_TIMEOUT": "30", "PIP_DEFAULT_TIMEOUT": "30"}
    # It ends what it has started as well, which subprocess.run does not.
    bounded = ["timeout", "--kill-after=5", str(_TRY_SECONDS), *argv]
    failures = []
    for _ in range(_TRIES):
        done = subprocess.run(
            bounded,
            env={**clean, **patient, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return
        failures.append(f"{argv} ended with {done.returncode}: {done.stderr}")
    raise AssertionError("\n".join(failures))


def _python() -> str:
    """The Python below that of the tests, which everybody may run."""
    return str(Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}"))
