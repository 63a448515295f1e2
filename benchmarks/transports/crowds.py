"""Connections in great number: one after the other, many at a time, and idle ones."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import Any

from benchmarks import measures, processes, ways
from benchmarks.ground import FIRST_PORT, Ground, python
from benchmarks.transports.effort import Effort
from benchmarks.transports.stage import MAKERS, PEERS, TRANSPORTS, Say, connected
from benchmarks.ways import BenchmarkError, Way, tow_command
from tests.e2e.waiting import until

# After what it did at its start a session has this long to settle.
IDLE_SECONDS = 2.0
# Of the target's, in turns.
PORTS = 16
_MAKING_SECONDS = 1800.0
_END_SECONDS = 30.0


def run(ground: Ground, rtt: int, effort: Effort, say: Say) -> dict[str, Any]:
    """By transport: `held`, what processes weigh with so many idle connections; `made`, how those
    went that were made, by the way; and what the session's processes weigh and have open `before`
    and `after` all of them.
    """
    found = {}
    for transport in TRANSPORTS:
        say(f"connections by {transport}: held")
        with connected(ground, rtt, transport) as tow:
            held = _hold(ground, tow, effort.idle)
        with connected(ground, rtt, transport) as tow:
            found[transport] = {"held": held, **_make(ground, rtt, transport, tow, effort, say)}
    return {"count": effort.made, "crowd": effort.crowd, "transports": found}


def _hold(ground: Ground, tow: Way, count: int) -> dict[str, dict[str, float]]:
    time.sleep(IDLE_SECONDS)
    found = {"0": processes.memory(ground, tow.details)}
    argv = python("probe", "hold", tow.address, tow.port, f"--flows={count}")
    with ways.running(ground, 0, argv) as process:
        held = json.loads(ways.line(process))
        found[str(held)] = processes.memory(ground, tow.details)
    return found


def _make(
    ground: Ground, rtt: int, transport: str, tow: Way, effort: Effort, say: Say
) -> dict[str, Any]:
    made: dict[str, dict[str, dict[str, float]]] = {}
    with ExitStack() as stack:
        peers = [stack.enter_context(MAKERS[name](ground, rtt)) for name in PEERS[transport]]
        for way in [*peers, tow]:
            count = effort.made if way is tow else effort.peers
            if way is tow:
                before = _state(ground, tow)
            for kind, clients in {"in turn": 1, "at a time": effort.crowd}.items():
                say(f"connections by {way.name}: {count}, {kind}")
                made.setdefault(way.name, {})[kind] = _made(ground, way, count, clients)
    return {"made": made, "before": before, "after": _settled(ground, tow)}


def _made(ground: Ground, way: Way, count: int, clients: int) -> dict[str, float]:
    ports = range(FIRST_PORT, FIRST_PORT + PORTS) if way.all_ports else [way.port]
    asked = ["many", way.address, *ports, f"--count={count}", f"--flows={clients}"]
    took, lost = measures.probe(ground, way.place, asked, _MAKING_SECONDS)
    return {"count": count, "rate": (count - lost) / took, "lost": lost}


def _state(ground: Ground, tow: Way) -> dict[str, dict[str, float]]:
    return {
        "memory": processes.memory(ground, tow.details),
        "descriptors": dict(processes.descriptors(ground, tow.details)),
    }


def _settled(ground: Ground, tow: Way) -> dict[str, dict[str, float]]:
    """The same when no stream is left. That the last of them end takes a moment."""
    until(lambda: _streams(ground) == 0, _END_SECONDS, "all streams to end")
    time.sleep(IDLE_SECONDS)
    return _state(ground, tow)


def _streams(ground: Ground) -> int:
    done = ground.lab.run_in_laptop([str(tow_command()), "status", "-o", "json"])
    if done.returncode:
        raise BenchmarkError(f"tow status: {done.stderr}")
    (status,) = json.loads(done.stdout)
    return int(status["streams"])
