"""The results as a table in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.aims import Comparison

WAYS = ("direct", "kubectl", "websocket", "tow")

# Measure: (what it is called, the factor to its unit, decimals).
ROWS = {
    "up_1": ("up, 1 flow (Gbit/s)", 1, 2),
    "up_8": ("up, 8 flows (Gbit/s)", 1, 2),
    "down_1": ("down, 1 flow (Gbit/s)", 1, 2),
    "down_8": ("down, 8 flows (Gbit/s)", 1, 2),
    "echo": ("round trip, p50 (ms)", 1000, 3),
    "echo_p99": ("round trip, p99 (ms)", 1000, 3),
    "connect": ("connection + round trip (ms)", 1000, 2),
    "first": ("the same, first to its destination (ms)", 1000, 2),
    "ready": ("ready after (s)", 1, 2),
    "says": ("ready by its own words (s)", 1, 2),
}


def render(results: dict[str, Any], comparisons: list[Comparison]) -> str:
    """All tables, with a line about when and where."""
    return "\n".join(
        [
            f"{results['date']}, {results['machine']}, {results['rounds']} rounds.",
            "",
            *_figures(results),
            "",
            *_processes(results),
            "",
            *_aims(comparisons),
        ]
    )


def _figures(results: dict[str, Any]) -> Iterator[str]:
    yield from _table_head("RTT (ms)", "measure", *WAYS)
    for rtt, by_way in results["rtt"].items():
        for measure, (title, factor, decimals) in ROWS.items():
            cells = [
                f"{by_way[way][measure] * factor:.{decimals}f}"
                if measure in by_way.get(way, {})
                else ""
                for way in WAYS
            ]
            if any(cells):
                yield _row(rtt, title, *cells)


def _processes(results: dict[str, Any]) -> Iterator[str]:
    memory = results["memory"]
    yield from _table_head("resident (MB)", *memory["idle"])
    for moment, figures in memory.items():
        yield _row(moment, *(f"{value:.1f}" for value in figures.values()))
    yield ""
    yield f"`tow --help`: {results['help'] * 1000:.0f} ms"


def _aims(comparisons: list[Comparison]) -> Iterator[str]:
    yield from _table_head("compared", "figure", "aim", "met")
    for each in comparisons:
        relation = "≥" if each.at_least else "≤"
        yield _row(
            each.what,
            f"{each.value:.2f} {each.unit}",
            f"{relation} {each.aim:g} {each.unit}",
            "yes" if each.met else "no",
        )


def _table_head(*cells: str) -> Iterator[str]:
    yield _row(*cells)
    yield _row(*("---" for _ in cells))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
