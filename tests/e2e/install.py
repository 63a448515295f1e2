"""The wheel, built and installed as its users do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lab.layout import CHECKOUT

_SECONDS = 180


def build(folder: Path) -> Path:
    """Build the wheel into a folder."""
    _uv("build", "--wheel", "--out-dir", str(folder), str(CHECKOUT))
    (wheel,) = folder.glob("*.whl")
    return wheel


def with_uv_tool(wheel: Path, folder: Path) -> Path:
    """Install it by `uv tool install`; gives the program."""
    places = {"UV_TOOL_DIR": str(folder / "tools"), "UV_TOOL_BIN_DIR": str(folder / "bin")}
    _uv("tool", "install", "--python", _python(), str(wheel), **places)
    return folder / "bin" / "tow"


def with_pip(wheel: Path, folder: Path) -> Path:
    """Install it by pip into a fresh virtual environment; gives the program."""
    _uv("venv", "--seed", "--python", _python(), str(folder))
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", str(wheel)]
    _run(pip, dict(os.environ))
    return folder / "bin" / "tow"


def _uv(*arguments: str, **environment: str) -> None:
    uv = os.environ.get("UV") or shutil.which("uv")
    assert uv, "the tests are run by uv"
    # The environment of the tests themselves is not the one that is meant.
    clean = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    _run([uv, *arguments], clean | environment)


def _run(argv: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert done.returncode == 0, f"{argv}: {done.stderr}"


def _python() -> str:
    """The Python below that of the tests, which everybody may run."""
    return str(Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}"))
