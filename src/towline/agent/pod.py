"""What the agent tells of the pod that it runs in."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
from collections.abc import Sequence
from pathlib import Path

from towline.agent import networks

RESOLV_CONF = "/etc/resolv.conf"
# A real one has a few hundred.
RESOLV_CONF_CHARACTERS = 16 * 1024

# A container's own limit, by the second version of cgroups or the first, and where there is none
# what one of ours has by default: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory
MEMORY_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
DEFAULT_MEMORY_BYTES = 512 * 1024 * 1024
# The first version says that there is no limit by a number beyond all memory.
_UNLIMITED_BYTES = 1 << 50

# Nothing is sent there: a UDP socket is only asked which address it would use.
_FAR_AWAY = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def facts() -> dict[str, object]:
    """The pod's resolver settings, addresses and Python, fit for JSON.

    `networks` are those of the addresses, `service_host` is where the API server is for pods.
    """
    addresses = _addresses()
    return {
        "pod": socket.gethostname(),
        "python": platform.python_version(),
        "addresses": addresses,
        "networks": networks.networks_of(addresses),
        "service_host": os.environ.get("KUBERNETES_SERVICE_HOST", ""),
        "resolv_conf": resolv_conf(),
    }


def resolv_conf(path: str = RESOLV_CONF) -> str:
    """The text of resolv.conf(5); "" when there is none."""
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return file.read(RESOLV_CONF_CHARACTERS)
    except OSError:
        return ""


def memory_limit(files: Sequence[str] = MEMORY_FILES) -> int:
    """How many bytes this container may use before the kernel kills it."""
    for path in files:
        with contextlib.suppress(OSError, ValueError):
            limit = int(Path(path).read_text(encoding="ascii"))
            return limit if limit < _UNLIMITED_BYTES else DEFAULT_MEMORY_BYTES
    return DEFAULT_MEMORY_BYTES


def nameservers(text: str) -> list[str]:
    """The nameservers of a resolv.conf(5), in its order."""
    lines = [line.split() for line in text.splitlines()]
    return [words[1] for words in lines if words[:1] == ["nameserver"] and len(words) > 1]


def _addresses() -> list[str]:
    found = []
    for family, far in _FAR_AWAY:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))
                found.append(probe.getsockname()[0])
        except OSError:
            continue
    return found
