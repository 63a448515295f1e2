"""The lab's laptop as a test uses it: programs run on it as one user, with folders of their own.

Besides HOME, the folders in which programs keep what is temporary are fresh and empty for
whatever runs here, helpers and background processes included: every file that is in them
afterwards comes from here, however much else goes on on the machine.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from lab import namespaces
from lab.cluster import Lab
from lab.images import FOR_TOW
from lab.layout import CHECKOUT
from tests.e2e.trace.processes import Belonging

T = TypeVar("T")

_TEMPORARY = ("/tmp", "/var/tmp", "/run", "/dev/shm")
_MARK = "TOWLINE_TEST"
_RUN_SECONDS = 60.0


@dataclass(frozen=True)
class Account:
    """Somebody who runs programs."""

    name: str
    uid: int
    gid: int


ROOT = Account("root", 0, 0)
NOBODY = Account("nobody", 65534, 65534)


@dataclass(frozen=True)
class Laptop:
    """`folder` holds the fresh folders; `tow` is the program under test. `covers` are files of
    the machine, each with the one that programs here see instead.
    """

    lab: Lab
    folder: Path
    tow: Path = Path(sys.executable).with_name("tow")
    account: Account = ROOT
    covers: tuple[tuple[Path, Path], ...] = ()
    mark: str = field(default_factory=lambda: f"{_MARK}={uuid.uuid4()}")

    @property
    def home(self) -> Path:
        """The account's home folder, with a kubeconfig of the lab's administrator."""
        return self.folder / "home" / self.account.name

    @property
    def kubeconfig(self) -> Path:
        """That kubeconfig."""
        return self.home / ".kube" / "config"

    @property
    def inputs(self) -> Path:
        """Where a test puts files for programs here to read, itself no part of the laptop."""
        return self.folder.with_name(f"{self.folder.name}-inputs")

    @property
    def belonging(self) -> Belonging:
        """Its processes: those in its network, and those that were started from here."""
        return Belonging(self.lab.layout.laptop_net.stat().st_ino, self.mark)

    def prepare(self) -> None:
        """Make the folders."""
        self.inputs.mkdir()
        for account in (ROOT, NOBODY):
            replace(self, account=account)._make_home()
        for name in _TEMPORARY:
            _cover(self.folder, name).mkdir(parents=True)
            _cover(self.folder, name).chmod(0o1777 if name != "/run" else 0o755)
        for path, cover in _kept(self.folder):
            cover.parent.mkdir(parents=True, exist_ok=True)
            cover.mkdir(exist_ok=True) if path.is_dir() else cover.touch()

    def environment(self, **changes: str) -> dict[str, str]:
        """What a program finds in its environment."""
        name, _, value = self.mark.partition("=")
        return {
            "HOME": str(self.home),
            "USER": self.account.name,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "KUBECONFIG": str(self.kubeconfig),
            **FOR_TOW,
            name: value,
            **changes,
        }

    def kubeconfig_with(self, name: str, change: Callable[[dict[str, Any]], None]) -> Path:
        """Write a kubeconfig that differs from the administrator's by a change."""
        config = yaml.safe_load(self.kubeconfig.read_text())
        change(config)
        return self.input(name, yaml.safe_dump(config))

    def input(self, name: str, text: str) -> Path:
        """Write a file that programs here can read, whoever runs them."""
        path = self.inputs / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    def start(
        self, argv: Sequence[str | Path], env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start a program; its process is the program's own. `options` are subprocess.Popen's."""
        return self.lab.popen_in_laptop(
            [*self._wrapped(), *map(str, argv)],
            env=dict(env or self.environment()),
            text=True,
            **{"stdin": subprocess.DEVNULL, **options},
        )

    def run(
        self,
        *argv: str | Path,
        env: Mapping[str, str] | None = None,
        seconds: float = _RUN_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end. It has no terminal."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
        with self.start(argv, env, **pipes) as process:
            try:
                out, err = process.communicate(timeout=seconds)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess([*map(str, argv)], process.returncode, out, err)

    def call(self, function: Callable[[], T]) -> T:
        """The function's result from a thread in the laptop's network."""
        return namespaces.call_inside(self.lab.layout.laptop_net, function)

    def connect_to(self, host: str, port: int, seconds: float = 10) -> socket.socket:
        """A TCP connection to an address, as any program here makes it."""
        return self.call(lambda: socket.create_connection((host, port), timeout=seconds))

    def _wrapped(self) -> list[str]:
        """The words before a command that run it with the fresh folders, as the account."""
        script = [
            *(_bind(path, cover) for path, cover in _kept(self.folder)),
            *(_bind(_cover(self.folder, name), Path(name)) for name in _TEMPORARY),
            *(_bind(cover, path) for path, cover in self.covers),
            'exec "$@"',
        ]
        words = ["sh", "-ec", "\n".join(script), "sh"]
        if self.account.uid:
            ids = (f"--reuid={self.account.uid}", f"--regid={self.account.gid}")
            words += ["setpriv", *ids, "--clear-groups", "--"]
        return words

    def _make_home(self) -> None:
        self.kubeconfig.parent.mkdir(parents=True)
        shutil.copy(self.lab.kubeconfig(), self.kubeconfig)
        self.kubeconfig.chmod(0o600)
        for path in (self.home, self.kubeconfig.parent, self.kubeconfig):
            os.chown(path, self.account.uid, self.account.gid)


def _cover(folder: Path, path: str | Path) -> Path:
    """What stands in for a path of the machine."""
    return folder / "machine" / Path(path).relative_to("/")


def _kept(folder: Path) -> list[tuple[Path, Path]]:
    """What stays as it is although it lies in a folder that is covered, and where it goes.

    That is what the program under test consists of, and the laptop's own resolv.conf.
    """
    needed = {
        CHECKOUT,
        Path(sys.prefix),
        Path(sys.base_prefix),
        Path("/etc/resolv.conf").resolve(),
        Path("/etc/nsswitch.conf").resolve(),
    }
    return [
        (path, _cover(folder, path))
        for path in sorted(needed)
        if any(path.is_relative_to(name) for name in _TEMPORARY)
    ]


def _bind(source: Path, target: Path) -> str:
    return f"mount -n --rbind {shlex.quote(str(source))} {shlex.quote(str(target))}"
