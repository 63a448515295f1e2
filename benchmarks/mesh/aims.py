"""What is aimed at for the mesh."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.comparison import Comparison
from benchmarks.routers.report import PROTOCOLS

RATE = 0.7
LATER_SECONDS = 0.4e-3
JOINS_SECONDS = 1.0
LOST = 0


def compare(results: dict[str, Any]) -> Iterator[Comparison]:
    """All comparisons that the results allow."""
    rates = results["rates"]
    for protocol, title in PROTOCOLS.items():
        direct, unmatched = (rates[way][protocol] for way in ("direct", "unmatched"))
        ratio = unmatched["rate"] / direct["rate"]
        yield Comparison(f"{title}: unmatched / direct", ratio, RATE, "×", at_least=True)
        later = (unmatched["p50"] - direct["p50"]) * 1000
        yield Comparison(f"{title}, p50: unmatched - direct", later, LATER_SECONDS * 1000, "ms")
    yield Comparison("joins a mesh", results["starts"]["joins"]["says"], JOINS_SECONDS, "s")
    crowd = results["crowd"]
    what = f"lost at {crowd['joins']} joins and leaves, of {crowd['requests']} requests"
    yield Comparison(what, crowd["lost"], LOST)
