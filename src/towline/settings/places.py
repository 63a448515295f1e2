"""Where the files of settings are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: The group of the entry points of packages that are a distribution.
GROUP = "towline.distribution"
MACHINE = Path("/etc/towline/config.yaml")
TEAM_NAME = ".towline.yaml"


@dataclass(frozen=True, slots=True)
class Places:
    """The files; whether they are there is another question, but for the team's.

    `team` is None if there is none; `team_folder` is where one would be made.
    """

    machine: Path
    user: Path
    profiles: Path
    team: Path | None
    team_folder: Path

    def profile(self, name: str) -> Path:
        """The file of a profile."""
        return self.profiles / f"{name}.yaml"

    def profile_names(self) -> list[str]:
        """The profiles that there are."""
        with suppress(OSError):
            return sorted(each.stem for each in self.profiles.iterdir() if each.suffix == ".yaml")
        return []


def find(
    environ: Mapping[str, str] = os.environ,
    *,
    home: Path | None = None,
    folder: Path | None = None,
    machine: Path | None = None,
) -> Places:
    """The places for the user and the working directory of this process, unless told otherwise."""
    home = home or _home()
    own = _own(environ, home)
    folder = folder or _working_directory()
    team, team_folder = _team(folder, home)
    return Places(machine or MACHINE, own / "config.yaml", own / "profiles", team, team_folder)


def _own(environ: Mapping[str, str], home: Path) -> Path:
    """Ours in the user's folder of settings (XDG Base Directory Specification, 0.8)."""
    # A path that is not absolute is to be ignored, it says.
    named = Path(environ.get("XDG_CONFIG_HOME", ""))
    return (named if named.is_absolute() else home / ".config") / "towline"


def _team(folder: Path, home: Path) -> tuple[Path | None, Path]:
    """The nearest file from the working directory upwards, and where the outermost would be.

    The search ends with the root of a git work tree, or with home. Where there is neither, only the
    working directory itself counts: what is above it may be anybody's, as in /tmp. For the same
    reason a file counts only if it is the user's, root's, or whose the working directory is.
    """
    searched = []
    for each in (folder, *folder.parents):
        searched.append(each)
        if _exists(each / ".git") or each == home:
            break
    else:
        searched = [folder]
    outermost = searched[-1] if searched[-1] != home else folder
    trusted = {os.geteuid(), 0, _owner(folder)}
    for each in searched:
        if _exists(each / TEAM_NAME) and _owner(each / TEAM_NAME) in trusted:
            return each / TEAM_NAME, outermost
    return None, outermost


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder above that may not be searched
        return False


def _owner(path: Path) -> int:
    """Whose it is, as a user's number; -1 if that cannot be told."""
    try:
        return path.stat().st_uid
    except OSError:
        return -1


def _home() -> Path:
    try:
        return Path.home().resolve()
    except (RuntimeError, OSError):  # a user who has none
        return Path("/")


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError:  # it is deleted
        return Path("/")
