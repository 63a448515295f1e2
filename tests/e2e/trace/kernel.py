"""What is set up in a network namespace: nftables, devices, addresses, routes, rules, settings."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.e2e.trace.snapshot import View

_COMMANDS = (
    "nft list ruleset",
    "ip -d link show",
    "ip address show",
    "ip -4 route show table all",
    "ip -6 route show table all",
    "ip -4 rule show",
    "ip -6 rule show",
    "ip maddress show",
)
SETTINGS = Path("/proc/sys/net")
# A count, not a setting: the connections that conntrack knows of just now.
_COUNTERS = frozenset({"netfilter/nf_conntrack_count"})

Run = Callable[[str], str]


def run(command: str) -> str:
    """The output of a command in the calling thread's network namespace."""
    done = subprocess.run(
        command.split(), capture_output=True, text=True, timeout=30, check=False, cwd="/"
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def view(run: Run = run) -> View:
    """The output of each command, of the calling thread's network namespace."""
    return {command: run(command) for command in _COMMANDS}


def settings(root: Path = SETTINGS) -> View:
    """The network's settings (sysctl), as far as they can be read."""
    found: dict[str, str] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if name in _COUNTERS or not path.is_file():
            continue
        try:
            found[name] = path.read_text(errors="replace").strip()
        except OSError:  # for writing only, or not set yet
            continue
    return found
