"""Packs the agent, with what it imports, into the arguments of its container."""

from __future__ import annotations

import base64
import functools
import io
import zipfile
import zlib
from importlib import resources
from importlib.resources.abc import Traversable

PACKAGES = ("wire", "relay", "agent")

# Linux refuses a single argument longer than this (MAX_ARG_STRLEN, execve(2)).
ARGUMENT_LIMIT_BYTES = 128 * 1024

# Runs in any Python from 3.9 on. The archive lives in memory, so a read-only root file
# system is enough; /tmp is for the libcs that have no memfd.
_LOADER = """\
import base64,os,runpy,sys,tempfile,zlib
z=zlib.decompress(base64.b64decode(sys.argv[1]))
try: f=os.memfd_create('agent'); p='/proc/self/fd/%d'%f
except (AttributeError,OSError): f,p=tempfile.mkstemp('.zip')
os.write(f,z)
sys.path.insert(0,p)
sys.argv[:2]=['towline-agent']
runpy.run_module('towline.agent',run_name='__main__',alter_sys=True)
"""


@functools.cache
def command() -> tuple[str, ...]:
    """The container's command that unpacks and runs the agent; its options may follow.

    The archive's members are stored and the whole is compressed once, which is smaller than
    compressing each; equal sources give equal bytes. In base64 there is no `$`, which
    Kubernetes would expand in a container's command.
    """
    packed = base64.b64encode(zlib.compress(_archive(), level=9)).decode("ascii")
    if len(packed) >= ARGUMENT_LIMIT_BYTES:
        raise AssertionError(f"the agent's archive has grown to {len(packed)} bytes")
    return ("python3", "-c", _LOADER, packed)


def _archive() -> bytes:
    root = resources.files("towline")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "towline/__init__.py", root.joinpath("__init__.py").read_bytes())
        for package in PACKAGES:
            _add_package(archive, f"towline/{package}", root.joinpath(package))
    return buffer.getvalue()


def _add_package(archive: zipfile.ZipFile, name: str, folder: Traversable) -> None:
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.is_dir() and entry.name != "__pycache__":
            _add_package(archive, f"{name}/{entry.name}", entry)
        elif entry.name.endswith(".py"):
            _add(archive, f"{name}/{entry.name}", entry.read_bytes())


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name), data)
