"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterator


def table_head(*cells: str) -> Iterator[str]:
    """The lines with which a table begins."""
    yield row(*cells)
    yield row(*("---" for _ in cells))


def row(*cells: str) -> str:
    """A line of it."""
    return f"| {' | '.join(cells)} |"
