"""TCP by each transport beside its peers: how fast, and what it costs."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from benchmarks import measures, processes
from benchmarks.ground import Ground
from benchmarks.transports.effort import Effort
from benchmarks.transports.stage import MAKERS, PEERS, TRANSPORTS, Say, connected
from benchmarks.ways import Way

# The probe that moves bytes that way.
_MOVING = {"up": "send", "down": "fetch"}

Costs = dict[str, dict[str, list[dict[str, float]]]]
"""By way and direction, what each process has used, again and again."""


def run(ground: Ground, rtt: int, effort: Effort, say: Say) -> dict[str, Any]:
    """By way `figures`, medians as the uplink's, and `costs`, by direction and process: seconds of
    a processor for a gigabyte.
    """
    samples: measures.Samples = defaultdict(dict)
    costs: Costs = defaultdict(lambda: defaultdict(list))
    with ExitStack() as stack:
        peers = {name: stack.enter_context(make(ground, rtt)) for name, make in MAKERS.items()}
        for number in range(effort.rounds):
            for transport in measures.in_turns(TRANSPORTS, number):
                say(f"flows by {transport}, round {number + 1} of {effort.rounds}")
                with connected(ground, rtt, transport) as tow:
                    samples[tow.name].setdefault("ready", []).append(tow.details["outside"])
                    beside = [*(peers[name] for name in PEERS[transport]), tow]
                    measures.measure_once(ground, beside, number, rtt, effort.flows, samples)
                    # Without anybody in between it costs nobody anything.
                    for way in measures.in_turns([each for each in beside if each.details], number):
                        _weigh(ground, way, effort.moved, costs[way.name])
    return {
        "figures": {name: measures.figures_of(found) for name, found in samples.items()},
        "costs": {
            name: {direction: _medians(found) for direction, found in by_direction.items()}
            for name, by_direction in costs.items()
        },
    }


def _weigh(ground: Ground, way: Way, size: int, costs: dict[str, list[dict[str, float]]]) -> None:
    """Move bytes each way, and see what each process used meanwhile."""
    pids = _processes(ground, way)
    for direction, measure in _MOVING.items():
        before = processes.seconds(pids)
        (moved,) = measures.probe(
            ground, way.place, [measure, way.address, way.port, f"--size={size}"]
        )
        after = processes.seconds(pids)
        costs[direction].append({name: (after[name] - before[name]) / moved * 1e9 for name in pids})


def _processes(ground: Ground, way: Way) -> Mapping[str, int]:
    """Those of the way, and the cluster's."""
    is_session = "agent" in way.details
    own = (
        processes.of_session(ground, way.details) if is_session else {"session": way.details["pid"]}
    )
    return own | processes.of_cluster(ground)


def _medians(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in found) for name in found[0]}
