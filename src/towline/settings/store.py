"""Writes files of settings: whole or not at all, as their owner's."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from towline.errors import UsageError

# XDG Base Directory Specification, 0.8: "Referencing this specification".
_FOLDER_MODE = 0o700


def write(path: Path, text: str) -> None:
    """Put a text in place of a file, or make it, with the folders above. Raises UsageError.

    A link stays one. What root makes in somebody's home is theirs, as with sudo.
    """
    try:
        path = path.resolve()
        owner = _owner(path)
        for folder in reversed([each for each in path.parents if not each.exists()]):
            folder.mkdir(_FOLDER_MODE)
            _give(folder, owner)
        _replace(path, text, owner)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error


def delete(path: Path) -> None:
    """Remove a file. Raises UsageError."""
    try:
        path.unlink()
    except OSError as error:
        raise UsageError(f"{path} cannot be removed: {error.strerror}.") from error


def _replace(path: Path, text: str, owner: os.stat_result) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        _give(new, owner)
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def _owner(path: Path) -> os.stat_result:
    """Whose it is, or would be: as the nearest folder that is there."""
    return next(each for each in (path, *path.parents) if each.exists()).stat()


def _give(path: Path, owner: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)
