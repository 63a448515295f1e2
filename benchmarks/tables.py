"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

# Measure: (what it is called, the factor to its unit, decimals).
MEASURES = {
    "up_1": ("up, 1 flow (Gbit/s)", 1, 2),
    "up_8": ("up, 8 flows (Gbit/s)", 1, 2),
    "up_64": ("up, 64 flows (Gbit/s)", 1, 2),
    "down_1": ("down, 1 flow (Gbit/s)", 1, 2),
    "down_8": ("down, 8 flows (Gbit/s)", 1, 2),
    "down_64": ("down, 64 flows (Gbit/s)", 1, 2),
    "echo": ("round trip, p50 (ms)", 1000, 3),
    "echo_p99": ("round trip, p99 (ms)", 1000, 3),
    "connect": ("connection + round trip (ms)", 1000, 2),
    "first": ("the same, first to its destination (ms)", 1000, 2),
    "ready": ("ready after (s)", 1, 2),
    "says": ("ready by its own words (s)", 1, 2),
}


def table_head(*cells: str) -> Iterator[str]:
    """The lines with which a table begins."""
    yield row(*cells)
    yield row(*("---" for _ in cells))


def figures_table(
    figures: Mapping[str, Mapping[str, float]], ways: Sequence[str], *first: str
) -> Iterator[str]:
    """A line for each measure of which there are figures, a column for each way."""
    for measure, (title, factor, decimals) in MEASURES.items():
        cells = [
            f"{figures[way][measure] * factor:.{decimals}f}"
            if measure in figures.get(way, {})
            else ""
            for way in ways
        ]
        if any(cells):
            yield row(*first, title, *cells)


def row(*cells: str) -> str:
    """A line of it."""
    return f"| {' | '.join(cells)} |"
