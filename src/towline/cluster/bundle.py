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
# system is enough; /tmp is for the libcs that have no memfd, and no name stays there.
_RUN = """\
z=zlib.decompress(b)
try: f=os.memfd_create('agent')
except (AttributeError,OSError): f,p=tempfile.mkstemp(); os.unlink(p)
os.write(f,z)
sys.path.insert(0,'/proc/self/fd/%d'%f)
sys.argv[:2]=['towline-agent']
runpy.run_module('towline.agent',run_name='__main__',alter_sys=True)
"""
_FROM_ARGUMENT = """\
import base64,os,runpy,sys,tempfile,zlib
b=base64.b64decode(sys.argv[1])
"""
_FROM_INPUT = """\
import os,runpy,sys,tempfile,zlib
n=int(sys.argv[1]); b=b''
while len(b)<n:
    d=os.read(0,n-len(b))
    if not d: sys.exit(0)
    b+=d
"""
# Isolated from the settings and packages of whose container it is, and writing no byte code there.
_GUEST = ("python3", "-BISc")


@functools.cache
def command() -> tuple[str, ...]:
    """The container's command that unpacks and runs the agent; its options may follow.

    The archive's members are stored and the whole is compressed once, which is smaller than
    compressing each; equal sources give equal bytes. In base64 there is no `$`, which
    Kubernetes would expand in a container's command.
    """
    packed = base64.b64encode(_packed()).decode("ascii")
    if len(packed) >= ARGUMENT_LIMIT_BYTES:
        raise AssertionError(f"the agent's archive has grown to {len(packed)} bytes")
    return ("python3", "-c", _FROM_ARGUMENT + _RUN, packed)


def guest_command(*options: str) -> tuple[tuple[str, ...], bytes]:
    """The command that runs an agent in somebody's container, and what it is to read first.

    By its input, since what is run by exec goes into a URL, for which proxies leave little room.
    """
    packed = _packed()
    return (*_GUEST, _FROM_INPUT + _RUN, str(len(packed)), *options), packed


def guest_probe() -> tuple[str, ...]:
    """The command that tells the version of the Python there: `3 9`."""
    return (*_GUEST, "import sys; print(*sys.version_info[:2])")


@functools.cache
def _packed() -> bytes:
    return zlib.compress(_archive(), level=9)


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
