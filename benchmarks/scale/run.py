"""The same of a small cluster and of a large one."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import processes, ways
from benchmarks.ground import FIRST_PORT, NAMESPACE, Ground
from benchmarks.measures import probe, probe_whole
from benchmarks.scale import crowd
from benchmarks.scale.effort import Effort
from benchmarks.transports.lookups import NAME

Figures = dict[str, float]

IN_POD = "lookup in the pod"


def run(ground: Ground, rtt: int, effort: Effort, say: Callable[[str], None]) -> dict[str, Any]:
    """All results, fit for JSON: seconds and megabytes, in the cluster as it is and a large one."""
    own = {"service": f"kubernetes.{NAMESPACE}", "missing": "no-such-service"}
    say("scale: the cluster as it is")
    small = _figures(ground, rtt, effort, own)
    say(f"scale: making {effort.services} services and {effort.pods} pods")
    with crowd.crowd(ground, effort.services, effort.pods):
        say("scale: the large cluster")
        last = crowd.service_name(effort.services - 1)
        names = {**own, "crowd": f"{last}.{crowd.NAMESPACE}"}
        large = _figures(ground, rtt, effort, names)
    return {
        "rtt": rtt,
        "rounds": effort.rounds,
        "services": effort.services,
        "pods": effort.pods,
        "small": small,
        "large": large,
    }


def _figures(ground: Ground, rtt: int, effort: Effort, names: Mapping[str, str]) -> Figures:
    """Medians: when it is ready, what its processes need, how long lookups take."""
    samples: dict[str, list[float]] = {}
    for _ in range(effort.rounds):
        with ways.session(ground, rtt, "connect") as (_, ready):
            found: dict[str, list[float]] = {"ready": [ready["outside"]]}
            found |= {what: [mb] for what, mb in processes.memory(ground, ready).items()}
            found[IN_POD] = _in_pod(ground, effort)
            for what, name in names.items():
                arguments = ["lookup", name, f"--seconds={effort.lookup}"]
                found[f"lookup {what}"] = probe(ground, "laptop", arguments)
        for what, values in found.items():
            samples.setdefault(what, []).extend(values)
    return {what: statistics.median(values) for what, values in samples.items()}


def _in_pod(ground: Ground, effort: Effort) -> list[float]:
    """The seconds that the cluster itself takes for a lookup."""
    options = (f"--name={NAME}", f"--seconds={effort.lookup}")
    asked = ["look_up_there", ground.address, FIRST_PORT, *options]
    seconds: list[float] = probe_whole(ground, "node", asked)["seconds"]
    return seconds
