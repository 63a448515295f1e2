"""How large the large cluster is, and how often it is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """So many `services` and `pods`; `rounds` of connecting, `lookup` seconds of each kind."""

    rounds: int
    services: int
    pods: int
    lookup: float


FULL = Effort(rounds=5, services=10_000, pods=5_000, lookup=1.0)
QUICK = Effort(rounds=1, services=40, pods=20, lookup=0.2)
