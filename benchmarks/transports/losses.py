"""How soon a session is back that has lost its connections, or its agent."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from typing import Any

from benchmarks import measures, ways
from benchmarks.ground import NAMESPACE, Ground
from benchmarks.transports.effort import Effort
from benchmarks.transports.stage import TRANSPORTS, Say, arguments, way
from benchmarks.ways import BenchmarkError
from lab import network
from lab.settings import PODS_V4

_CONNECTIONS = f"( dst {network.NODE_V4} or dst {PODS_V4} )"

Seen = dict[str, float]


def run(ground: Ground, rtt: int, effort: Effort, say: Say) -> dict[str, dict[str, Seen]]:
    """By transport and loss, medians of seconds: until it is `back`, and how long it was `down` by
    its own words.
    """
    losses = {"cut": _cut, "without an agent": _delete_agent}
    found: dict[str, dict[str, list[Seen]]] = {}
    for number in range(effort.lost):
        for transport in measures.in_turns(TRANSPORTS, number):
            for what, lose in losses.items():
                say(f"{transport}: {what}")
                with ways.session(ground, rtt, "connect", *arguments(ground, transport)) as tow:
                    process, event = tow
                    began = time.monotonic()
                    lose(ground, str(event["agent"]))
                    seen = _await_back(process, began)
                    there = way(ground, transport, event)
                    measures.probe(
                        ground, "laptop", ["connect", there.address, there.port, there.port]
                    )
                found.setdefault(transport, {}).setdefault(what, []).append(seen)
    return {
        transport: {what: _medians(seen) for what, seen in by_loss.items()}
        for transport, by_loss in found.items()
    }


def _cut(ground: Ground, _agent: str) -> None:
    """End all connections of the laptop at both their ends, by the kernel; the network is there."""
    done = ground.lab.run_in_laptop(["ss", "-K", "state", "established", _CONNECTIONS])
    if done.returncode:
        raise BenchmarkError(f"ss -K: {done.stderr}")


def _delete_agent(ground: Ground, agent: str) -> None:
    ground.lab.kubectl("delete", "pod", agent, "-n", NAMESPACE, "--wait=false")


def _await_back(process: subprocess.Popen[str], began: float) -> Seen:
    event: dict[str, Any] = {}
    while event.get("event") != "reconnected":
        event = json.loads(ways.line(process))
    return {"back": time.monotonic() - began, "down": event["seconds"]}


def _medians(seen: list[Seen]) -> Seen:
    return {name: statistics.median(each[name] for each in seen) for name in seen[0]}
