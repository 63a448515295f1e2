"""What is aimed at for large clusters: that they are as small ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.comparison import Comparison

RATIO = 1.1


def compare(results: dict[str, Any]) -> Iterator[Comparison]:
    """All comparisons that the results allow."""
    small, large = results["small"], results["large"]
    for what in small:
        ratio = large[what] / small[what]
        yield Comparison(f"{what}: large cluster / small", ratio, RATIO, "×")
