"""The files below some folders: what kind, whose, how large, and what is in them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.e2e.trace.snapshot import View


def view(roots: Iterable[Path], without: Sequence[Path] = ()) -> View:
    """Every file, folder, link, socket below the roots, and the roots themselves; without some,
    and what is below those.
    """
    found: dict[str, str] = {}
    for root in roots:
        for path in (root, *_below(root)):
            if any(path.is_relative_to(other) for other in without):
                continue
            try:
                found[str(path)] = _describe(path)
            except FileNotFoundError:  # gone since it was listed
                continue
    return found


def _below(root: Path) -> Iterator[Path]:
    if not root.is_dir() or root.is_symlink():
        return
    for folder, folders, files in os.walk(root):
        yield from (Path(folder, name) for name in (*folders, *files))


def _describe(path: Path) -> str:
    status = path.lstat()
    about = f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return f"{about} → {path.readlink()}"
    if stat.S_ISREG(status.st_mode):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        return f"{about} {status.st_size} bytes {digest}"
    return about
