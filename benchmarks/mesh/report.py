"""The results of the mesh as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.routers.report import PROTOCOLS
from benchmarks.tables import row, table_head

WAYS = ("direct", "nginx", "unmatched", "matched")
STARTS = {"first": "the first", "joins": "joins"}
COLUMNS = {
    "says": "live by its own words",
    "ready": "live",
    "answered": "first answer from here",
    "back": "interrupted: answers of the pods",
    "ended": "ended",
}


def render(results: dict[str, Any]) -> Iterator[str]:
    """All tables."""
    rates = results["rates"]
    yield from table_head(f"RTT {results['rtt']} ms", *WAYS)
    for protocol, title in PROTOCOLS.items():
        yield row(f"{title}, requests/s", *(f"{rates[way][protocol]['rate']:.0f}" for way in WAYS))
        for name in ("p50", "p99"):
            cells = (f"{rates[way][protocol][name] * 1000:.3f}" for way in WAYS)
            yield row(f"{title}, {name} (ms)", *cells)
    yield ""
    yield from table_head("seconds", *COLUMNS.values())
    for who, title in STARTS.items():
        yield row(title, *(f"{results['starts'][who][name]:.2f}" for name in COLUMNS))
    yield ""
    yield from table_head("participants", "the router's memory (MB)")
    for count, figure in results["memory"].items():
        yield row(count, f"{figure:.1f}")
