"""The layers of the lab's images, put together from files of this machine."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

from lab import envoy, programs
from lab.errors import LabError
from lab.layout import SOURCE

PYTHON = Path("/usr/bin/python3")
# The user that images for Kubernetes commonly mean by "nonroot".
NONROOT = 65532

_NOT_NEEDED = {
    *("test", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "pydoc_data"),
    # A link into /etc on Debian.
    "sitecustomize.py",
}
_FILES = {
    "etc/passwd": f"root:x:0:0::/root:/bin/sh\nnonroot:x:{NONROOT}:{NONROOT}::/home:/bin/sh\n",
    "etc/group": f"root:x:0:\nnonroot:x:{NONROOT}:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
_FOLDERS = ("dev", "etc", "home", "proc", "root", "run", "sys", "usr/bin", "usr/lib", "usr/sbin")
_LINKS = {
    "bin": "usr/bin",
    "lib": "usr/lib",
    "lib64": "usr/lib64",
    "sbin": "usr/sbin",
    "usr/bin/python": "python3",
}


def python_layer(archive: tarfile.TarFile) -> None:
    """This machine's Python, its standard library, the shared libraries of both; a shell."""
    real = PYTHON.resolve()
    library = Path("/usr/lib") / real.name
    if not library.is_dir():
        raise LabError(f"{library} is missing: install the package python3.")
    system_layer(archive, real, modules=library.glob("lib-dynload/*.so"))
    _add_link(archive, "usr/bin/python3", real.name)
    archive.add(library, str(library).lstrip("/"), filter=_keep)


def system_layer(archive: tarfile.TarFile, *commands: Path, modules: Iterable[Path] = ()) -> None:
    """These programs of this machine, the libraries that they and their modules load; a shell."""
    for name in _FOLDERS:
        _add_folder(archive, name)
    _add_folder(archive, "tmp", mode=0o1777)
    for name, target in _LINKS.items():
        _add_link(archive, name, target)
    for name, text in _FILES.items():
        _add_text(archive, name, text)
    for path in (*commands, *shared_libraries([*commands, *modules])):
        _add(archive, path)
    _add_shell(archive)


def sample_layer(archive: tarfile.TarFile) -> None:
    """The sample application."""
    for path in sorted((SOURCE / "sample").glob("*.py")):
        archive.add(path, f"opt/sample/{path.name}", filter=_as_root)


def add_program(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """A file under another name, for all to run."""
    archive.add(path, name, filter=_as_program)


def add_file(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """A file under another name, for all to read."""
    _add_text(archive, name, path.read_text())


def add_link(archive: tarfile.TarFile, name: str, target: str) -> None:
    """A symbolic link."""
    _add_link(archive, name, target)


def envoy_layer(archive: tarfile.TarFile) -> None:
    """Envoy, where its own images have it."""
    system_layer(archive, modules=[envoy.program()])
    add_program(archive, envoy.program(), "usr/local/bin/envoy")


def coredns_layer(archive: tarfile.TarFile) -> None:
    """CoreDNS, and nothing else."""
    archive.add(programs.built("coredns"), "coredns", filter=_as_root)


def pause_layer(archive: tarfile.TarFile) -> None:
    """What holds a pod's namespaces."""
    archive.add(programs.built("pause"), "pause", filter=_as_root)


def _keep(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """The standard library without what no image of Python for servers has either.

    Times stay: by them Python knows that its compiled files are up to date.
    """
    name = Path(info.name).name
    if name in _NOT_NEEDED or name.startswith("config-"):
        return None
    return _as_root(info)


def _as_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def _as_program(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mode = 0o755
    return _as_root(info)


def shared_libraries(files: Iterable[Path]) -> list[Path]:
    """What the dynamic linker would load for them, as ldd(1) tells."""
    listed = subprocess.run(
        ["ldd", *map(str, files)], capture_output=True, text=True, check=False
    ).stdout
    return sorted({Path(path) for path in re.findall(r"(/\S+) \(0x", listed)})


def _add(archive: tarfile.TarFile, path: Path) -> None:
    """Put a file to where it is here, with /lib and /lib64 being links into /usr."""
    name = str(path).lstrip("/")
    if not name.startswith("usr/"):
        name = f"usr/{name}"
    archive.add(path.resolve(), name, filter=_as_root)


def _add_shell(archive: tarfile.TarFile) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        return
    _add(archive, Path(busybox))
    for shared in shared_libraries([Path(busybox)]):
        _add(archive, shared)
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for applet in applets.stdout.split():
        if applet != "busybox":
            _add_link(archive, f"usr/bin/{applet}", "busybox")


def _add_folder(archive: tarfile.TarFile, name: str, mode: int = 0o755) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    archive.addfile(info)


def _add_link(archive: tarfile.TarFile, name: str, target: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    archive.addfile(info)


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(text), 0o644
    archive.addfile(info, io.BytesIO(text.encode()))
