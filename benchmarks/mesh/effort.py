"""How much of the mesh is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """`requests` for each rate, of matched ones `matched`; `starts` of each kind; `joins` under
    load, some at once; so many `participants` at a time.
    """

    rounds: int
    requests: int
    matched: int
    starts: int
    joins: int
    participants: int


FULL = Effort(rounds=4, requests=8_000, matched=2_000, starts=5, joins=100, participants=50)
QUICK = Effort(rounds=1, requests=500, matched=100, starts=1, joins=3, participants=3)
