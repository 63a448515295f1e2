"""Where a lab keeps its things, and how they are named, so that labs of several checkouts
live side by side.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

SOURCE = Path(__file__).resolve().parent
CHECKOUT = SOURCE.parent
STATE_ROOT = Path("/var/lib/towline-lab")

# The longest Unix socket below the state folder must fit into 107 bytes.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?")


def default_name() -> str:
    """The lab's name: TOWLINE_LAB, else one derived from the checkout's path."""
    chosen = os.environ.get("TOWLINE_LAB")
    return chosen or hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]


def cache_root() -> Path:
    """What is built once for all labs of this user (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "towline-lab"


@dataclass(frozen=True, slots=True)
class Layout:
    """The names and paths of one lab."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise LabError(
                f"'{self.name}' cannot be a lab's name: use up to 24 of a-z, 0-9 and '-'."
            )

    @property
    def title(self) -> str:
        """The name under which the kernel knows it: the cgroup, and the first process."""
        return f"towline-{self.name}"

    @property
    def node_net(self) -> Path:
        """The node's network namespace."""
        return Path("/run/netns") / f"{self.title}-node"

    @property
    def laptop_net(self) -> Path:
        """The laptop's network namespace."""
        return Path("/run/netns") / f"{self.title}-laptop"

    @property
    def state(self) -> Path:
        """Everything that goes with the lab when it is taken down."""
        return STATE_ROOT / self.name

    @property
    def lock(self) -> Path:
        """Held while the lab is changed."""
        return STATE_ROOT / f"{self.name}.lock"

    @property
    def programs(self) -> Path:
        """The folder that is put on the PATH: links to the built programs."""
        return self.state / "bin"

    @property
    def laptop_etc(self) -> Path:
        """Files that cover those of /etc for whatever runs on the laptop."""
        return self.state / "laptop-etc"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.state / "pki"

    @property
    def users(self) -> Path:
        """The kubeconfig files."""
        return self.state / "users"

    @property
    def logs(self) -> Path:
        """One log file per component."""
        return self.state / "log"

    @property
    def dns_log(self) -> Path:
        """What the world's DNS server was asked, see :mod:`lab.worlddns`."""
        return self.logs / "dns-queries.log"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log: the requests of people, one JSON object per line."""
        return self.logs / "audit.log"

    @property
    def node(self) -> Path:
        """The node's disk; it is wiped when the node starts."""
        return self.state / "node"

    @property
    def containerd_socket(self) -> Path:
        """Where the node's containerd listens."""
        return self.node / "containerd.sock"
