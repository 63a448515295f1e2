"""The results as a table in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.tables import row, table_head


def render(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the table."""
    large = f"with {results['services']} services and {results['pods']} pods more"
    yield from table_head(f"RTT {results['rtt']} ms", "as the lab is", large)
    for what, value in results["large"].items():
        yield row(_title(what), _shown(what, results["small"].get(what)), _shown(what, value))


def _title(what: str) -> str:
    if what.startswith("lookup"):
        return f"{what}, p50 (ms)"
    return "ready after (s)" if what == "ready" else f"{what} resident (MB)"


def _shown(what: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1000:.2f}" if what.startswith("lookup") else f"{value:.2f}"
