"""How much of the downlink is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """Times in seconds.

    `starts` of each mode, `lost` sessions in each way, `requests` asked in all while an exchange
    is switched on and off `switched` times, and `held` connections at once.
    """

    rounds: int
    bulk: float
    echo: float
    rate: float
    starts: int
    lost: int
    requests: int
    switched: int
    held: int


FULL = Effort(
    rounds=3,
    bulk=0.8,
    echo=0.6,
    rate=0.5,
    starts=3,
    lost=2,
    requests=10_000,
    switched=3,
    held=500,
)
QUICK = Effort(
    rounds=1,
    bulk=0.2,
    echo=0.2,
    rate=0.2,
    starts=1,
    lost=1,
    requests=300,
    switched=1,
    held=20,
)
