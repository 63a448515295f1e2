"""Where it is measured: the lab's laptop and node, and a target pod of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import laptop
from lab.cluster import Lab

NAMESPACE = "default"
AGENT_IMAGE = "localhost/towline/python:3"

# The target listens on so many ports, for connections to destinations not seen before.
FIRST_PORT = 7000
PORTS = 200

POD = "benchmark-target"
"""The target's name, and its label `app`."""

_PROGRAM = Path(__file__).with_name("target.py")
_START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Ground:
    """The lab, with the target in it."""

    lab: Lab
    pod: str
    address: str

    def start(self, place: str, rtt: int, argv: Sequence[str], **options: Any) -> Any:
        """Start a program on the 'laptop' or the 'node'; the API server is `rtt` ms away."""
        env = with_byte_code(laptop.own_environment())
        env["KUBECONFIG"] = str(self.lab.kubeconfig(rtt_ms=rtt))
        start = self.lab.popen_in_node if place == "node" else self.lab.popen_in_laptop
        return start(argv, env=env, text=True, stdin=subprocess.DEVNULL, **options)

    def is_on_laptop(self, pid: int) -> bool:
        """Whether a process lives in the laptop's network."""
        try:
            return Path(f"/proc/{pid}/ns/net").stat().st_ino == self._laptop_net
        except OSError:
            return False

    @property
    def _laptop_net(self) -> int:
        return self.lab.layout.laptop_net.stat().st_ino


@contextmanager
def prepared() -> Iterator[Ground]:
    """Bring the lab up, and the target for as long as the context lasts."""
    lab = Lab()
    lab.up()
    try:
        _remove(lab)
        lab.kubectl("create", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(_manifest()))
        seconds = f"--timeout={_START_SECONDS}s"
        lab.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", f"pod/{POD}", seconds)
        pod = lab.kubectl_json("pod", POD, "-n", NAMESPACE)
        yield Ground(lab, POD, pod["status"]["podIP"])
    finally:
        _remove(lab)


def with_byte_code(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Python keeps what it compiles, as any installed program's is."""
    unwanted = "PYTHONDONTWRITEBYTECODE"
    return {name: text for name, text in environment.items() if name != unwanted}


def python(module: str, *arguments: object) -> list[str]:
    """The command line of one of our own modules."""
    return [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]


def _remove(lab: Lab) -> None:
    lab.kubectl("delete", "pod", POD, "-n", NAMESPACE, "--ignore-not-found", "--now")


def _manifest() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "labels": {"app": POD}},
        "spec": {
            "enableServiceLinks": False,
            "containers": [
                {
                    "name": "target",
                    "image": AGENT_IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", _PROGRAM.read_text()],
                    "args": [str(FIRST_PORT), str(PORTS)],
                    "readinessProbe": {"tcpSocket": {"port": FIRST_PORT}, "periodSeconds": 1},
                }
            ],
        },
    }
