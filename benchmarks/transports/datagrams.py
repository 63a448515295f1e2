"""Datagrams by each transport, and from the node: how many arrive of how many."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

from benchmarks import measures, ways
from benchmarks.ground import Ground
from benchmarks.transports.effort import Effort
from benchmarks.transports.stage import TRANSPORTS, Say, connected
from benchmarks.ways import Way


def run(ground: Ground, rtt: int, effort: Effort, say: Say) -> dict[str, Any]:
    """By way: `echo` and `echo_p99`, seconds; and for each offer up and down, by its name, how many
    were `offered` in a second, how many came, as `rate`, and the `loss`, medians of the rounds.
    """
    echoes: dict[str, list[float]] = defaultdict(list)
    samples: dict[str, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    with ways.direct(ground, rtt) as direct:
        for number in range(effort.rounds):
            say(f"datagrams, round {number + 1} of {effort.rounds}")
            _measure(ground, direct, effort, echoes, samples)
            for transport in measures.in_turns(TRANSPORTS, number):
                with connected(ground, rtt, transport) as tow:
                    _measure(ground, tow, effort, echoes, samples)
    return {
        way: {
            "echo": statistics.median(echoes[way]),
            "echo_p99": measures.percentile(echoes[way], 99),
            "offers": {
                name: {each: statistics.median(seen[each] for seen in found) for each in found[0]}
                for name, found in by_offer.items()
            },
        }
        for way, by_offer in samples.items()
    }


def _measure(
    ground: Ground,
    way: Way,
    effort: Effort,
    echoes: dict[str, list[float]],
    samples: dict[str, dict[str, list[dict[str, float]]]],
) -> None:
    at = (way.address, way.port, f"--seconds={effort.datagrams}")
    echoes[way.name] += measures.probe(ground, way.place, ["datagrams_echo", *at])
    for size, rate in effort.offers:
        for direction in ("up", "down"):
            asked = [f"datagrams_{direction}", *at, f"--size={size}", f"--rate={rate}"]
            sent, took, came = measures.probe(ground, way.place, asked)
            seen = {"offered": sent / took, "rate": came / took, "loss": 1 - came / sent}
            samples[way.name][f"{direction}, {size} bytes, {rate}/s"].append(seen)
