"""Runs the measurements on the lab and prints the tables: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import aims, document, processes, report, ways
from benchmarks.downlink import effort as downlink_effort
from benchmarks.downlink import run as downlink
from benchmarks.ground import Ground, prepared
from benchmarks.measures import Effort, measure
from benchmarks.mesh import effort as mesh_effort
from benchmarks.mesh import run as mesh
from benchmarks.routers import run as routers
from benchmarks.scale import effort as scale_effort
from benchmarks.scale import run as scale
from benchmarks.transports import effort as transports_effort
from benchmarks.transports import run as transports

FULL = Effort(rounds=3, bulk=1.5, echo=1.0, connect=1.0, first=15)
QUICK = Effort(rounds=1, bulk=0.3, echo=0.2, connect=0.2, first=3)
RTTS = [0, 20, 80]
UPLINK, DOWNLINK, MESH, SCALE, ROUTERS = "uplink", "downlink", "mesh", "scale", "routers"
USUAL = (UPLINK, *transports.PARTS, DOWNLINK, MESH)

RTT_HELP = "in ms; may be given repeatedly; all but the uplink are measured at the first"
PART_HELP = (
    "just this one; may be given repeatedly; scale and routers are none of those else measured"
)
WRITE_HELP = "put the tables into the documents that have such ones"

# After what it did at its start a session has this long to settle.
IDLE_SECONDS = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="once, and short: a smoke test")
    parser.add_argument("--part", choices=(*USUAL, SCALE, ROUTERS), action="append", help=PART_HELP)
    parser.add_argument("--rtt", type=int, action="append", help=RTT_HELP)
    parser.add_argument(
        "--rounds", type=int, help=f"how often to measure the uplink ({FULL.rounds})"
    )
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--write", action="store_true", help=WRITE_HELP)
    chosen = parser.parse_args()
    effort = QUICK if chosen.quick else FULL
    if chosen.rounds:
        effort = Effort(**asdict(effort) | {"rounds": chosen.rounds})
    results: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": _machine(),
        "parts": {},
        "tables": [],
    }
    for part, found in _measured(chosen.part or USUAL, chosen.rtt or RTTS, effort, chosen.quick):
        results["parts"][part] = found
        tables = report.section(part, results)
        results["tables"].append(tables)
        if chosen.write:
            document.write(part, tables)
        if chosen.output == "text":
            print(f"{part}: {tables}\n", flush=True)
    if chosen.output == "json":
        results["aims"] = [
            asdict(each) | {"part": part, "met": each.met}
            for part, found in results["parts"].items()
            for each in aims.compare(part, found)
        ]
        print(json.dumps(results, indent=2))
    return 0


def _measured(
    parts: Iterable[str], rtts: list[int], effort: Effort, quick: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each part with its results, as soon as they are there."""
    with ExitStack() as stack:
        ground: Ground | None = None
        for part in parts:
            if part == ROUTERS:
                yield part, routers.run(routers.QUICK if quick else routers.FULL, say)
                continue
            ground = ground or stack.enter_context(prepared())
            yield part, _of_ground(part, ground, rtts, effort, quick=quick)


def _of_ground(
    part: str, ground: Ground, rtts: list[int], effort: Effort, *, quick: bool
) -> dict[str, Any]:
    """The results of a part that is measured on the lab."""
    if part == UPLINK:
        return run(ground, rtts, effort)
    if part in transports.PARTS:
        ways_effort = transports_effort.QUICK if quick else transports_effort.FULL
        return transports.run(part, ground, rtts[0], ways_effort, say)
    if part == DOWNLINK:
        below = downlink_effort.QUICK if quick else downlink_effort.FULL
        return downlink.run(ground, rtts[0], below, say)
    if part == SCALE:
        large = scale_effort.QUICK if quick else scale_effort.FULL
        return scale.run(ground, rtts[0], large, say)
    shared = mesh_effort.QUICK if quick else mesh_effort.FULL
    return mesh.run(ground, rtts[0], shared, say)


def run(ground: Ground, rtts: list[int], effort: Effort) -> dict[str, Any]:
    """The uplink's results, fit for JSON: Gbit/s, seconds, megabytes."""
    results: dict[str, Any] = {
        "rounds": effort.rounds,
        "rtt": {},
        "memory": {},
        "help": processes.help_seconds(3 + 2 * effort.rounds),
    }
    for rtt in rtts:
        _run_at(ground, rtt, effort, results)
    return results


def _run_at(ground: Ground, rtt: int, effort: Effort, results: dict[str, Any]) -> None:
    """The measurements at one distance; those of memory at the first."""
    starts = []
    for _ in range(effort.rounds - 1):
        say(f"RTT {rtt} ms: starting tow connect")
        with ways.tow(ground, rtt) as way:
            starts.append(way.details)
    with ExitStack() as stack:
        makers = [ways.direct, ways.kubectl, ways.websocket, ways.tow]
        opened = [stack.enter_context(make(ground, rtt)) for make in makers]
        ready = opened[-1].details
        starts.append(ready)
        first = not results["memory"]
        if first:
            time.sleep(IDLE_SECONDS)
            results["memory"]["idle"] = processes.memory(ground, ready)
        figures = measure(ground, opened[1:] if rtt else opened, rtt, effort, say)
        if first:
            results["memory"]["after bulk"] = processes.memory(ground, ready)
    figures["tow"]["ready"] = statistics.median(each["outside"] for each in starts)
    figures["tow"]["says"] = statistics.median(each["seconds"] for each in starts)
    results["rtt"][str(rtt)] = figures


def say(what: str) -> None:
    """Tell whoever waits what goes on."""
    print(what, file=sys.stderr, flush=True)


def _machine() -> str:
    cores = len(os.sched_getaffinity(0))
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    kind = models[0] if models else platform.machine()
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{cores} cores ({kind}), {system}"


if __name__ == "__main__":
    sys.exit(main())
