"""The proxies' figures as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.tables import row, table_head

PROXIES = ("envoy", "haproxy", "nginx")
PROTOCOLS = {"h1": "HTTP/1.1", "h2": "HTTP/2", "grpc": "gRPC"}


def render(results: dict[str, Any]) -> Iterator[str]:
    """All tables."""
    yield from _rates(results)
    yield ""
    yield from _figures(results)


def _rates(results: dict[str, Any]) -> Iterator[str]:
    yield from table_head(f"{results['participants']} participants", "direct", *PROXIES)
    rates = results["rates"]
    ways = ("direct", *PROXIES)
    for protocol, title in PROTOCOLS.items():
        yield row(f"{title}, requests/s", *(f"{rates[way][protocol]['rate']:.0f}" for way in ways))
        for name in ("p50", "p99"):
            cells = (f"{rates[way][protocol][name] * 1000:.3f}" for way in ways)
            yield row(f"{title}, {name} (ms)", *cells)
        cells = (f"{rates[way][protocol]['cpu'] * 1e6:.0f}" for way in PROXIES)
        yield row(f"{title}, time of processors for a request (µs)", "", *cells)


def _figures(results: dict[str, Any]) -> Iterator[str]:
    effort = results["effort"]
    titles = {
        "image": ("size of the program and its libraries (MB)", 1),
        "idle": ("memory without participants (MB)", 1),
        "many": (f"memory with {results['participants']} participants (MB)", 1),
        "broken": (f"of {effort['streams']} streams, broken by {effort['changes']} changes", 0),
        "lost": ("requests lost on a kept connection meanwhile", 0),
        "asked": ("of so many", 0),
        "force": ("until a change is in force (s)", 3),
        "processes": ("processes afterwards", 0),
        "memory": ("their memory (MB)", 1),
    }
    yield from table_head("", *PROXIES)
    for name, (title, decimals) in titles.items():
        yield row(title, *(f"{results[proxy][name]:.{decimals}f}" for proxy in PROXIES))
