"""The parts that are about the transports; each is measured by itself."""

from __future__ import annotations

from typing import Any

from benchmarks.ground import Ground
from benchmarks.transports import crowds, datagrams, flows, lookups, losses
from benchmarks.transports.effort import Effort
from benchmarks.transports.stage import Say, routed

PARTS = {
    "transports": flows.run,
    "losses": losses.run,
    "connections": crowds.run,
    "datagrams": datagrams.run,
    "lookups": lookups.run,
}


def run(part: str, ground: Ground, rtt: int, effort: Effort, say: Say) -> dict[str, Any]:
    """All results of a part, fit for JSON: Gbit/s, seconds, megabytes, rates per second."""
    with routed(ground):
        found = PARTS[part](ground, rtt, effort, say)
    return {"rtt": rtt, "rounds": effort.rounds, "found": found}
