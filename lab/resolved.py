"""systemd-resolved, D-Bus and nss-resolve of this machine's distribution, without installing them.

A machine that has systemd-resolved uses it, and tests must not: they run their own, in namespaces.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

from lab import progress
from lab.errors import LabError
from lab.layout import cache_root
from lab.locks import locked

_PACKAGES = ("dbus", "libnss-resolve", "systemd-resolved")
_TRIES = 3
_TRY_SECONDS = 300
# Folders of packages that are links into /usr on a machine.
_MERGED = ("bin", "lib", "sbin")


def usr() -> Path:
    """What goes over this machine's /usr: the packages and what they depend on, as far as it is
    not installed. Downloaded into the cache unless it is there. Needs root; raises LabError.
    """
    release = platform.freedesktop_os_release()
    folder = cache_root() / "resolved" / f"{release['ID']}-{release.get('VERSION_ID', '')}"
    with locked(folder.with_suffix(".lock")):
        if not folder.exists():
            packages = folder.with_name(f"{folder.name}.debs")
            with progress.counting("Getting systemd-resolved"):
                _download(packages)
                _unpack(packages, folder)
            shutil.rmtree(packages)
    return folder


def _download(folder: Path) -> None:
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    argv = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]
    argv += ["-o", f"Dir::Cache::archives={folder}/", "install", "--download-only", "--yes"]
    for _ in range(_TRIES):
        done = subprocess.run(
            [*argv, "--no-install-recommends", *_PACKAGES],
            capture_output=True,
            text=True,
            timeout=_TRY_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            return
        subprocess.run(["apt-get", "-qq", "update"], timeout=_TRY_SECONDS, check=False)
    raise LabError(f"systemd-resolved could not be downloaded: {done.stderr.strip()}")


def _unpack(packages: Path, folder: Path) -> None:
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "usr").mkdir(parents=True)
    for package in packages.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(fresh)], check=True)
    for name in _MERGED:
        if (fresh / name).exists():
            shutil.copytree(fresh / name, fresh / "usr" / name, symlinks=True, dirs_exist_ok=True)
    (fresh / "usr").rename(folder)
    shutil.rmtree(fresh)
