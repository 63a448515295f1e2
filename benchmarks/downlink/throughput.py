"""Bulk, latency and requests through an exchange, beside the originals and ways up, reversed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from benchmarks import measures, processes, ways
from benchmarks.downlink.effort import Effort
from benchmarks.downlink.stage import (
    CLAIMED_PORT,
    EXCHANGED,
    LOCAL_TARGET_PORT,
    UNCLAIMED_PORT,
    Stage,
)
from benchmarks.ground import python
from benchmarks.measures import Figures, Samples
from benchmarks.ways import Way

# After what it did at its start a session has this long to settle.
IDLE_SECONDS = 2.0
CLIENTS = 4
"""Of them that ask at the same time for the rates."""

_DIRECTIONS = {"up_1": "to_program", "down_1": "from_program"}
# On these the program is in the pod and its client on the laptop.
_REVERSED = {"up_1": "from_program", "down_1": "to_program"}


def measure(
    stage: Stage, rtt: int, effort: Effort, say: Callable[[str], None]
) -> dict[str, Figures]:
    """The figures of each way: medians of the rounds, or of the samples of all rounds.

    `to_program` and `from_program` are where most bytes go. For the ways from the laptop into the
    cluster they are the other way round: like with like goes up, or down, between the two.
    """
    ground = stage.ground
    say("opening all ways to the program")
    with ExitStack() as stack:
        makers = [ways.kubectl, ways.websocket, ways.tow]
        opened = [stack.enter_context(make(ground, rtt)) for make in makers]
        opened += stack.enter_context(_exchanged(stage, rtt))
        samples: Samples = {way.name: {} for way in opened}
        for number in range(effort.rounds):
            say(f"downlink, round {number + 1} of {effort.rounds}")
            turns = measures.in_turns(opened, number)
            measures.probe_all(ground, turns, _plan(rtt, effort), samples)
    return {way.name: _named(way, measures.figures_of(samples[way.name])) for way in opened}


def memory(stage: Stage, rtt: int, effort: Effort) -> dict[str, dict[str, float]]:
    """Resident megabytes of an exchange's processes by the number of connections through it."""
    ground, found = stage.ground, {}
    with ways.session(ground, rtt, "exchange", *_target()) as (_, ready):
        time.sleep(IDLE_SECONDS)
        found["0"] = processes.memory(ground, ready)
        argv = python("probe", "hold", stage.exchanged, CLAIMED_PORT, f"--flows={effort.held}")
        with ways.running(ground, 0, argv, place="node") as process:
            count = json.loads(ways.line(process))
            found[str(count)] = processes.memory(ground, ready)
    return found


@contextmanager
def _exchanged(stage: Stage, rtt: int) -> Iterator[list[Way]]:
    """To the original pod by a service of its own, and by the exchanged one in both ways."""
    with ways.session(stage.ground, rtt, "exchange", *_target()):
        yield [
            Way("original", "node", stage.original, CLAIMED_PORT),
            Way("unclaimed", "node", stage.exchanged, UNCLAIMED_PORT),
            Way("exchange", "node", stage.exchanged, CLAIMED_PORT),
        ]


def _target() -> tuple[str, str]:
    return EXCHANGED, f"--expose={LOCAL_TARGET_PORT}:{CLAIMED_PORT}"


def _plan(rtt: int, effort: Effort) -> dict[str, list[str]]:
    bulk = measures.bulk_options(effort.bulk, rtt)
    asking = (f"--seconds={effort.rate}", f"--flows={CLIENTS}")
    return {
        "up_1": ["up", *bulk],
        "down_1": ["down", *bulk],
        "echo": ["echo", f"--seconds={effort.echo}"],
        "requests": ["requests", *asking],
        "connections": ["connections", *asking],
    }


def _named(way: Way, figures: Figures) -> Figures:
    names = _REVERSED if way.place == "laptop" else _DIRECTIONS
    return {names.get(name, name): figure for name, figure in figures.items()}
