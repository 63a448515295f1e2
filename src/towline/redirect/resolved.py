"""systemd-resolved, where that looks names up for programs; spoken to by its own resolvectl(1).

What is set for a device is forgotten with the device. The standard library only.
"""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from towline.redirect.ruleset import LINK_SERVER

if TYPE_CHECKING:
    from collections.abc import Sequence

# Where nss-resolve asks, past all nameservers.
SOCKET = Path("/run/systemd/resolve/io.systemd.Resolve")

# Not by PATH: root runs it, and PATH may be somebody else's.
_FOLDERS = "/usr/bin:/bin:/run/current-system/sw/bin"
# It answers within some milliseconds; meanwhile the helper does nothing else.
_SECONDS = 3.0


class ResolvedError(Exception):
    """resolvectl is missing, or systemd-resolved refused; the text says which."""


def is_running(path: Path = SOCKET) -> bool:
    """Whether systemd-resolved serves programs on this machine."""
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        try:
            client.connect(str(path))
        except BlockingIOError:  # it is only busy
            return True
        except OSError:
            return False
    return True


def set_link(device: str, domains: Sequence[str]) -> None:
    """Have it ask `LINK_SERVER` for names in domains; none: no more, but what it asks just now.

    The server does neither DNSSEC nor TLS, and is none for what asks nameservers by itself: not
    a default route, it is in no resolv.conf. Raises :class:`ResolvedError`.
    """
    if not domains:
        _run("domain", device, "")
        return
    for setting in ("default-route", "dnssec", "dnsovertls"):
        _run(setting, device, "no")
    _run("domain", device, *domains)
    _run("dns", device, str(LINK_SERVER))


def guards() -> list[str]:
    """Name what it does for answers of the world that no other nameserver would do for it.

    Raises :class:`ResolvedError`.
    """
    settings = {"dnssec": "DNSSEC", "dnsovertls": "DNS over TLS"}
    return [name for setting, name in settings.items() if _is_on(_run(setting))]


def _is_on(listed: str) -> bool:
    """Whether anything but `no` is in `Global: no` and `Link 2 (eth0): no`, line by line."""
    values = (line.rpartition(":")[2].strip() for line in listed.splitlines())
    return any(value not in {"", "no"} for value in values)


def _run(*arguments: str) -> str:
    import subprocess  # noqa: PLC0415 (the helper starts fast, and most never need it)

    command = shutil.which("resolvectl", path=_FOLDERS)
    if command is None:
        raise ResolvedError("there is no resolvectl")
    try:
        done = subprocess.run(
            [command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=True,
            env={"LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise ResolvedError(f"resolvectl {arguments[0]} takes too long") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or [f"it ended with {error.returncode}"]
        raise ResolvedError(f"resolvectl {arguments[0]}: {said[-1]}") from error
    except OSError as error:
        raise ResolvedError(f"resolvectl: {error.strerror}") from error
    return done.stdout
