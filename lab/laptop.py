"""What a program sees that runs on the laptop, or on the node: the network namespace and, on
the laptop, its own resolver configuration; everything else is the machine's.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab import namespaces, network
from lab.errors import LabError
from lab.layout import Layout
from lab.namespaces import Kind, MountFlag

_RESOLV_CONF = Path("/etc/resolv.conf")
_NSSWITCH = Path("/etc/nsswitch.conf")


def furnish(layout: Layout) -> None:
    """Write the files that cover those of /etc."""
    layout.laptop_etc.mkdir(parents=True, exist_ok=True)
    resolver = f"nameserver {network.DNS_V4}\n"
    (layout.laptop_etc / "resolv.conf").write_text(resolver)
    if _NSSWITCH.exists():
        # The machine's systemd-resolved would answer from another network.
        lookups = re.sub(r"(?m)^hosts:.*$", "hosts: files dns", _NSSWITCH.read_text())
        (layout.laptop_etc / "nsswitch.conf").write_text(lookups)


def execute(
    layout: Layout, place: str, argv: Sequence[str], environment: Mapping[str, str]
) -> None:
    """Become `argv` on the 'laptop' or the 'node'; never returns. kubectl is put on the PATH,
    and the administrator's KUBECONFIG into the environment if there is none. Raises LabError
    when the lab is down or there is no such program.
    """
    admin = str(layout.users / "admin.yaml")
    path = f"{layout.programs}:{environment.get('PATH', os.defpath)}"
    complete = {"KUBECONFIG": admin} | dict(environment) | {"PATH": path}
    try:
        if place == "laptop":
            _enter_laptop(layout)
        else:
            namespaces.enter(layout.node_net, Kind.NET)
    except FileNotFoundError:
        raise LabError("The lab is down: start it with 'uv run lab up'.") from None
    except PermissionError:
        raise LabError("Entering the lab needs root.") from None
    try:
        os.execvpe(argv[0], list(argv), complete)
    except OSError as error:
        raise LabError(f"{argv[0]}: {error.strerror}.") from None


def own_environment() -> dict[str, str]:
    """This process's environment, but for KUBECONFIG: that leads to the developer's clusters."""
    return {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}


def command(layout: Layout, place: str, argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` there, for subprocess."""
    return [sys.executable, "-m", "lab.laptop", layout.name, place, *argv]


def _enter_laptop(layout: Layout) -> None:
    namespaces.enter(layout.laptop_net, Kind.NET)
    namespaces.unshare(Kind.MOUNT)
    namespaces.follow_host_mounts()
    for covered in (_RESOLV_CONF, _NSSWITCH):
        cover = layout.laptop_etc / covered.name
        if cover.exists():
            # Where it is a symbolic link, as with systemd-resolved, what it points to.
            namespaces.mount(cover, covered.resolve(strict=True), flags=MountFlag.BIND)


if __name__ == "__main__":
    try:
        execute(Layout(sys.argv[1]), sys.argv[2], sys.argv[3:], os.environ)
    except LabError as error:
        sys.exit(str(error))
