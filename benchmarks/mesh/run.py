"""All measurements of the mesh."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.ground import Ground
from benchmarks.mesh import moments
from benchmarks.mesh.effort import Effort
from benchmarks.mesh.stage import HERE, Stage, staged
from benchmarks.routers import asking
from tests.e2e.waiting import until

WAYS = ("direct", "nginx", "unmatched", "matched")
_ANSWERED_SECONDS = 60.0


def run(ground: Ground, rtt: int, effort: Effort, say: Callable[[str], None]) -> dict[str, Any]:
    """All results, fit for JSON: rates per second, seconds, megabytes."""
    with staged(ground) as stage:
        results: dict[str, Any] = {
            "rtt": rtt,
            "clients": asking.CLIENTS,
            "rounds": effort.rounds,
            "rates": _rates(stage, rtt, effort, say),
            "starts": moments.starts(stage, rtt, effort.starts, say),
        }
        say(f"{effort.joins} come and go under load")
        results["crowd"] = moments.crowd(stage, rtt, effort.joins)
        results["memory"] = moments.memory(stage, rtt, effort.participants, say)
    return results


def _rates(
    stage: Stage, rtt: int, effort: Effort, say: Callable[[str], None]
) -> dict[str, dict[str, asking.Answers]]:
    """By way and protocol, medians of the rounds."""
    samples: dict[str, dict[str, list[asking.Answers]]] = {way: {} for way in WAYS}
    with stage.meshing(rtt, "ada"):
        until(lambda: stage.who_answers("ada") == HERE, _ANSWERED_SECONDS, "an answer from here")
        for number in range(effort.rounds):
            say(f"mesh, round {number + 1} of {effort.rounds}")
            turns = (*WAYS[number % len(WAYS) :], *WAYS[: number % len(WAYS)])
            for protocol in asking.PROTOCOLS:
                for way in turns:
                    count = effort.matched if way == "matched" else effort.requests
                    found = asking.ask(stage.way(way, protocol, "ada"), count)
                    samples[way].setdefault(protocol, []).append(found)
    stage.await_put_back()
    return {
        way: {
            protocol: {name: statistics.median(each[name] for each in found) for name in found[0]}
            for protocol, found in by_protocol.items()
        }
        for way, by_protocol in samples.items()
    }
