"""The results of the transports as tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.tables import figures_table, row, table_head
from benchmarks.transports.lookups import AT_ONCE
from benchmarks.transports.stage import PEERS, TRANSPORTS

WAYS = ("direct", "kubectl", "websocket", "tow api", "tow direct")
DATAGRAM_WAYS = ("direct", "tow api", "tow direct")
LOSSES = {
    "cut": "all connections cut",
    "without an agent": "the agent's pod deleted",
}


def render(part: str, results: dict[str, Any]) -> Iterator[str]:
    """All tables of a part."""
    yield from OF_PARTS[part](results["found"], f"RTT {results['rtt']} ms")


def _flows(found: dict[str, Any], title: str) -> Iterator[str]:
    yield from table_head(title, *WAYS)
    yield from figures_table(found["figures"], WAYS)
    yield ""
    names = max((list(spent["up"]) for spent in found["costs"].values()), key=len)
    yield from table_head("CPU seconds for a gigabyte", "", *names, "all")
    for direction in ("up", "down"):
        for way in (way for way in WAYS if way in found["costs"]):
            spent = found["costs"][way][direction]
            cells = (f"{spent[name]:.2f}" if name in spent else "" for name in names)
            yield row(direction, way, *cells, f"{sum(spent.values()):.2f}")


def _losses(found: dict[str, Any], title: str) -> Iterator[str]:
    yield from table_head(title, *(f"{transport}: back (s)" for transport in TRANSPORTS))
    for what, name in LOSSES.items():
        yield row(name, *(f"{found[transport][what]['back']:.2f}" for transport in TRANSPORTS))


def _connections(found: dict[str, Any], title: str) -> Iterator[str]:
    kinds = {"in turn": "one after the other", "at a time": f"{found['crowd']} at a time"}
    yield from table_head(
        f"{title}, connections",
        *(f"{name}: in a second" for name in kinds.values()),
        "made",
        "lost",
    )
    for transport in TRANSPORTS:
        for way in (*PEERS[transport], f"tow {transport}"):
            made = found["transports"][transport]["made"][way]
            cells = (f"{made[kind]['rate']:.0f}" for kind in kinds)
            count, lost = (sum(each[name] for each in made.values()) for name in ("count", "lost"))
            yield row(way, *cells, f"{count}", f"{lost:.0f}")
    yield ""
    yield from _weights(found["transports"])


def _weights(transports: dict[str, Any]) -> Iterator[str]:
    names = ("session", "helper", "agent")
    yield from table_head("resident (MB)", "", *names, "open descriptors of each")
    for transport in TRANSPORTS:
        seen = transports[transport]
        for count, figures in seen["held"].items():
            cells = (f"{figures[name]:.1f}" for name in names)
            yield row(f"{count} idle connections", f"tow {transport}", *cells, "")
        for moment in ("before", "after"):
            memory, opened = seen[moment]["memory"], seen[moment]["descriptors"]
            cells = (f"{memory[name]:.1f}" for name in names)
            what = f"{moment} all that were made"
            yield row(what, f"tow {transport}", *cells, ", ".join(f"{opened[n]}" for n in names))


def _datagrams(found: dict[str, Any], title: str) -> Iterator[str]:
    yield from table_head(title, *DATAGRAM_WAYS)
    for name, what in {"echo": "p50", "echo_p99": "p99"}.items():
        cells = (f"{found[way][name] * 1000:.3f}" for way in DATAGRAM_WAYS)
        yield row(f"round trip, {what} (ms)", *cells)
    for offer in found["direct"]["offers"]:
        seen = (found[way]["offers"][offer] for way in DATAGRAM_WAYS)
        cells = (
            f"{each['rate']:.0f} of {each['offered']:.0f}, {each['loss']:.1%}" for each in seen
        )
        yield row(offer, *cells)


def _lookups(found: dict[str, Any], title: str) -> Iterator[str]:
    yield from table_head(title, "p50 (ms)", "p99 (ms)", f"in a second, {AT_ONCE} at once", "lost")
    names = ["in the pod", *(name for name in found["lookups"] if name != "in the pod")]
    for name in names:
        seen = found["lookups"][name]
        times = (f"{seen[each] * 1000:.3f}" for each in ("p50", "p99"))
        yield row(f"lookup, {name}", *times, f"{seen['rate']:.0f}", f"{seen['lost']:.0f}")
    for way in (way for way in WAYS if way in found["round_trips"]):
        yield row(f"round trip, {way}", f"{found['round_trips'][way] * 1000:.3f}", "", "", "")


OF_PARTS: dict[str, Callable[[dict[str, Any], str], Iterator[str]]] = {
    "transports": _flows,
    "losses": _losses,
    "connections": _connections,
    "datagrams": _datagrams,
    "lookups": _lookups,
}
