"""The results as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks import aims
from benchmarks.comparison import Comparison
from benchmarks.downlink import report as downlink_report
from benchmarks.mesh import report as mesh_report
from benchmarks.routers import report as routers_report
from benchmarks.scale import report as scale_report
from benchmarks.tables import figures_table, row, table_head
from benchmarks.transports import report as transports_report

PARTS = {
    "downlink": downlink_report,
    "mesh": mesh_report,
    "scale": scale_report,
    "routers": routers_report,
}
WAYS = ("direct", "kubectl", "websocket", "tow")


def section(part: str, results: dict[str, Any]) -> str:
    """The tables of one part, with a line about when and where."""
    found = results["parts"][part]
    rounds = f", rounds: {found['rounds']}" if "rounds" in found else ""
    lines = [f"{results['date']}, {results['machine']}{rounds}.", ""]
    if part == "uplink":
        lines += [*_figures(found), "", *_processes(found)]
    elif part in transports_report.OF_PARTS:
        lines += transports_report.render(part, found)
    else:
        lines += PARTS[part].render(found)
    comparisons = [*aims.compare(part, found)]
    if comparisons:
        lines += ["", *_aims(comparisons)]
    return "\n".join(lines)


def _figures(results: dict[str, Any]) -> Iterator[str]:
    yield from table_head("RTT (ms)", "measure", *WAYS)
    for rtt, by_way in results["rtt"].items():
        yield from figures_table(by_way, WAYS, rtt)


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
