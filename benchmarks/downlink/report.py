"""The results of the downlink as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.tables import row, table_head

# Way: what it is called in the table.
WAYS = {
    "original": "original",
    "unclaimed": "unclaimed",
    "exchange": "exchange",
    "tow": "uplink",
    "websocket": "websocket",
    "kubectl": "kubectl",
}

# Measure: (what it is called, the factor to its unit, decimals).
ROWS = {
    "to_program": ("to the program (Gbit/s)", 1, 2),
    "from_program": ("from the program (Gbit/s)", 1, 2),
    "echo": ("round trip, p50 (ms)", 1000, 3),
    "echo_p99": ("round trip, p99 (ms)", 1000, 3),
    "requests": ("requests/s, connections kept", 1, 0),
    "connections": ("requests/s, a connection each", 1, 0),
}

MOMENTS = {"killed": "client killed (kill -9)", "silent": "laptop falls silent, and is back"}


def render(results: dict[str, Any]) -> Iterator[str]:
    """All tables."""
    yield from _ways(results)
    yield ""
    yield from _relations(results)
    yield ""
    yield from _starts(results)
    yield ""
    yield from _moments(results)
    yield ""
    yield from _memory(results)


def _ways(results: dict[str, Any]) -> Iterator[str]:
    yield from table_head(f"RTT {results['rtt']} ms", *WAYS.values())
    for measure, (title, factor, decimals) in ROWS.items():
        figures = (results["ways"][way][measure] * factor for way in WAYS)
        yield row(title, *(f"{figure:.{decimals}f}" for figure in figures))


def _relations(results: dict[str, Any]) -> Iterator[str]:
    """What comes of the exchange and of what it passes, as multiples of the others."""
    others = [way for way in WAYS if way not in ("exchange", "unclaimed")]
    yield from table_head(
        "ratio", *(f"exchange / {WAYS[way]}" for way in others), "unclaimed / original"
    )
    for measure, (title, *_) in ROWS.items():
        figures = {way: found[measure] for way, found in results["ways"].items()}
        pairs = [("exchange", way) for way in others] + [("unclaimed", "original")]
        cells = (f"{figures[one] / figures[other]:.2f} ×" for one, other in pairs)
        yield row(title.partition(" (")[0], *cells)


def _starts(results: dict[str, Any]) -> Iterator[str]:
    head = ("live by its own words", "live", "first answer from here")
    yield from table_head("seconds from the command", *head)
    for mode, seen in results["starts"].items():
        cells = (f"{seen[name]:.2f}" for name in ("says", "ready", "answered"))
        yield row(f"--mode {mode}", *cells)


def _moments(results: dict[str, Any]) -> Iterator[str]:
    yield from table_head("under load", "longest without an answer (s)", "requests", "lost")
    for what, title in MOMENTS.items():
        seen = results["disturbances"][what]
        yield row(title, f"{seen['seconds']:.2f}", f"{seen['requests']}", f"{seen['lost']}")
    seen = results["switches"]
    title = f"switched on and off, {seen['switches']} switches"
    yield row(title, f"{seen['seconds']:.2f}", f"{seen['requests']}", f"{seen['lost']}")


def _memory(results: dict[str, Any]) -> Iterator[str]:
    memory = results["memory"]
    names = list(next(iter(memory.values())))
    yield from table_head("connections open, resident (MB)", *names)
    for count, figures in memory.items():
        yield row(count, *(f"{figures[name]:.1f}" for name in names))
