"""The results as a table in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.comparison import Comparison
from benchmarks.downlink import report as downlink_report
from benchmarks.mesh import report as mesh_report
from benchmarks.routers import report as routers_report
from benchmarks.scale import report as scale_report
from benchmarks.tables import row, table_head

PARTS = {
    "downlink": downlink_report,
    "mesh": mesh_report,
    "scale": scale_report,
    "routers": routers_report,
}
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
    lines = [f"{results['date']}, {results['machine']}, {results['rounds']} rounds.", ""]
    if "memory" in results:
        lines += [*_figures(results), "", *_processes(results), ""]
    for part, its_report in PARTS.items():
        if part in results:
            lines += [*its_report.render(results[part]), ""]
    return "\n".join([*lines, *(_aims(comparisons) if comparisons else ())])


def _figures(results: dict[str, Any]) -> Iterator[str]:
    yield from table_head("RTT (ms)", "measure", *WAYS)
    for rtt, by_way in results["rtt"].items():
        for measure, (title, factor, decimals) in ROWS.items():
            cells = [
                f"{by_way[way][measure] * factor:.{decimals}f}"
                if measure in by_way.get(way, {})
                else ""
                for way in WAYS
            ]
            if any(cells):
                yield row(rtt, title, *cells)


def _processes(results: dict[str, Any]) -> Iterator[str]:
    memory = results["memory"]
    yield from table_head("resident (MB)", *memory["idle"])
    for moment, figures in memory.items():
        yield row(moment, *(f"{value:.1f}" for value in figures.values()))
    yield ""
    yield f"`tow --help`: {results['help'] * 1000:.0f} ms"


def _aims(comparisons: list[Comparison]) -> Iterator[str]:
    yield from table_head("compared", "figure", "aim", "met")
    for each in comparisons:
        relation = "≥" if each.at_least else "≤"
        yield row(
            each.what,
            f"{each.value:.2f} {each.unit}".rstrip(),
            f"{relation} {each.aim:g} {each.unit}".rstrip(),
            "yes" if each.met else "no",
        )
