"""All measurements of the downlink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.downlink import moments, throughput
from benchmarks.downlink.effort import Effort
from benchmarks.downlink.stage import staged
from benchmarks.ground import Ground


def run(ground: Ground, rtt: int, effort: Effort, say: Callable[[str], None]) -> dict[str, Any]:
    """All results, fit for JSON: Gbit/s, seconds, megabytes, rates per second."""
    with staged(ground) as stage:
        results: dict[str, Any] = {
            "rtt": rtt,
            "clients": throughput.CLIENTS,
            "rounds": effort.rounds,
            "starts": moments.starts(stage, rtt, effort.starts, say),
            "ways": throughput.measure(stage, rtt, effort, say),
        }
        say("holding connections open through tow exchange")
        results["memory"] = throughput.memory(stage, rtt, effort)
        say("switching tow exchange on and off under load")
        results["switches"] = moments.switches(stage, rtt, effort.requests, effort.switched)
        results["disturbances"] = moments.disturbances(stage, rtt, effort.lost, say)
    return results
