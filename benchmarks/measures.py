"""Measures the ways in turn, round by round, so that noise meets them all alike."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmarks.ground import FIRST_PORT, PORTS, Ground, python
from benchmarks.ways import BenchmarkError, Way

PROBE_SECONDS = 120.0

# Windows grow until the flows are up to speed, by a few round trips.
WARMUP_SECONDS = 0.4
WARMUP_ROUND_TRIPS = 8

Figures = dict[str, float]
"""By measure: bulk in Gbit/s, times in seconds, rates per second."""

Samples = dict[str, dict[str, list[float]]]
"""By way and measure."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured; times in seconds."""

    rounds: int
    bulk: float
    echo: float
    connect: float
    first: int
    """New destinations in a round."""
    flows: tuple[int, ...] = (1, 8, 64)
    """So many at the same time for bulk."""

    def __post_init__(self) -> None:
        assert self.rounds * self.first < PORTS


def measure(
    ground: Ground, ways: Sequence[Way], rtt: int, effort: Effort, say: Callable[[str], None]
) -> dict[str, Figures]:
    """The figures of each way: medians of the rounds, or of the samples of all rounds."""
    samples: Samples = {way.name: {} for way in ways}
    for number in range(effort.rounds):
        say(f"RTT {rtt} ms, round {number + 1} of {effort.rounds}")
        measure_once(ground, ways, number, rtt, effort, samples)
    return {name: figures_of(found) for name, found in samples.items()}


def measure_once(
    ground: Ground, ways: Sequence[Way], number: int, rtt: int, effort: Effort, samples: Samples
) -> None:
    """The round of that number."""
    turns = in_turns(ways, number)
    probe_all(ground, turns, _plan(rtt, effort), samples)
    fresh = FIRST_PORT + 1 + number * effort.first
    for way in turns:
        if way.all_ports:
            ports = range(fresh, fresh + effort.first)
            found = probe(ground, way.place, ["connect", way.address, *ports])
            samples[way.name].setdefault("first", []).extend(found)


T = TypeVar("T")


def in_turns(ways: Sequence[T], number: int) -> list[T]:
    """The ways in the order of the round of that number: each time another is the first."""
    return [*ways[number % len(ways) :], *ways[: number % len(ways)]]


def probe_all(
    ground: Ground, turns: Sequence[Way], plan: Mapping[str, Sequence[str]], samples: Samples
) -> None:
    """Take each measure once on each way: `plan` has the probe's arguments for it."""
    for name, arguments in plan.items():
        for way in turns:
            found = probe(ground, way.place, [*arguments, way.address, way.port])
            samples[way.name].setdefault(name, []).extend(found)


def bulk_options(seconds: float, rtt: int) -> tuple[str, str]:
    """The probe's options for measuring bulk at a distance."""
    warmup = min(seconds, WARMUP_SECONDS + WARMUP_ROUND_TRIPS * rtt / 1000)
    return f"--seconds={seconds}", f"--warmup={warmup}"


def _plan(rtt: int, effort: Effort) -> dict[str, list[str]]:
    """The probe's arguments for each measure."""
    bulk = bulk_options(effort.bulk, rtt)
    transfers = {
        f"{direction}_{flows}": [direction, f"--flows={flows}", *bulk]
        for flows in effort.flows
        for direction in ("up", "down")
    }
    return transfers | {
        "echo": ["echo", f"--seconds={effort.echo}"],
        "connect": ["connect", f"--seconds={effort.connect}"],
    }


def probe(
    ground: Ground, place: str, arguments: Sequence[object], patience: float = PROBE_SECONDS
) -> list[float]:
    """Run one measurement on the 'laptop' or the 'node': its figure or figures."""
    result: Any = probe_whole(ground, place, arguments, patience)
    return result if isinstance(result, list) else [result]


def probe_whole(
    ground: Ground, place: str, arguments: Sequence[object], patience: float = PROBE_SECONDS
) -> Any:
    """The same, with all that it says."""
    process = ground.start(
        place,
        0,
        python("probe", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, err = process.communicate(timeout=patience)
    finally:
        process.kill()
    if process.returncode:
        last = err.strip().splitlines()[-1:]
        raise BenchmarkError(
            f"{place}, {' '.join(map(str, arguments))}: exit code {process.returncode} {last}"
        )
    return json.loads(out)


def figures_of(samples: dict[str, list[float]]) -> Figures:
    """The figures of one way."""
    figures = {name: statistics.median(found) for name, found in samples.items()}
    for name in figures:
        if name.startswith(("up", "down")):
            figures[name] *= 8 / 1e9
    figures["echo_p99"] = percentile(samples["echo"], 99)
    return figures


def percentile(samples: Sequence[float], percent: int) -> float:
    """What so many of a hundred are below."""
    return sorted(samples)[len(samples) * percent // 100]
