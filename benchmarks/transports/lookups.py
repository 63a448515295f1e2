"""Lookups of a name of the cluster here, beside the same ones in a pod."""

from __future__ import annotations

import statistics
from collections import defaultdict
from contextlib import ExitStack
from typing import Any

from benchmarks import measures
from benchmarks.ground import Ground
from benchmarks.transports.effort import Effort
from benchmarks.transports.stage import MAKERS, Say, connected

NAME = "kubernetes.default.svc.cluster.local"
AT_ONCE = 32
"""Lookups under way at the same time, for their rate."""

SESSIONS = {
    "api": ("api",),
    "api, --dns-cache 30": ("api", "--dns-cache=30"),
    "direct": ("direct",),
}
"""By its name: the transport, and options."""

BARE = {"api": "websocket", "direct": "direct"}
"""What goes the same way without a lookup, for its round trip."""


def run(ground: Ground, rtt: int, effort: Effort, say: Say) -> dict[str, Any]:
    """By session, and `in the pod`: `p50` and `p99` of the seconds of a lookup, `rate` of those in
    a second, `lost` ones in all; of `round_trips`, seconds by the way.
    """
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    trips: measures.Samples = defaultdict(dict)
    with ExitStack() as stack:
        bare = {name: stack.enter_context(MAKERS[name](ground, rtt)) for name in BARE.values()}
        there: list[object] = ["look_up_there", bare["direct"].address, bare["direct"].port]
        for number in range(effort.rounds):
            for name in measures.in_turns(tuple(SESSIONS), number):
                say(f"lookups by {name}, round {number + 1} of {effort.rounds}")
                transport, *options = SESSIONS[name]
                with connected(ground, rtt, transport, *options) as tow:
                    echo = {"echo": ["echo", f"--seconds={effort.lookups}"]}
                    measures.probe_all(ground, [bare[BARE[transport]], tow], echo, trips)
                    _look_up(ground, ["look_up", tow.address], "laptop", effort, samples[name])
                _look_up(ground, there, "node", effort, samples["in the pod"])
    return {
        "lookups": {name: _figures(found) for name, found in samples.items()},
        "round_trips": {way: statistics.median(found["echo"]) for way, found in trips.items()},
    }


def _look_up(
    ground: Ground, asked: list[object], place: str, effort: Effort, samples: dict[str, list[float]]
) -> None:
    """One at a time, for what each takes, then many, for their rate."""
    options = (f"--name={NAME}", f"--seconds={effort.lookups}")
    alone = measures.probe_whole(ground, place, [*asked, *options])
    crowd = measures.probe_whole(ground, place, [*asked, *options, f"--flows={AT_ONCE}"])
    samples["seconds"] += alone["seconds"]
    samples["rate"].append(len(crowd["seconds"]) / effort.lookups)
    samples["lost"].append(alone["lost"] + crowd["lost"])


def _figures(samples: dict[str, list[float]]) -> dict[str, float]:
    return {
        "p50": statistics.median(samples["seconds"]),
        "p99": measures.percentile(samples["seconds"], 99),
        "rate": statistics.median(samples["rate"]),
        "lost": sum(samples["lost"]),
    }
