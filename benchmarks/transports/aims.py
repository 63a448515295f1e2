"""What is aimed at for the transports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.comparison import Comparison
from benchmarks.transports.lookups import BARE

DIRECT_GBIT = 4.0
BACK_SECONDS = 5.0
IDLE_MB = 20.0
LOOKUP_SECONDS = 0.3e-3
LOST = 0


def _of_flows(found: dict[str, Any]) -> Iterator[Comparison]:
    figures = found["figures"]
    names = [name for name in figures["tow api"] if name.startswith(("up", "down"))]
    for name in names:
        ratio = figures["tow api"][name] / figures["websocket"][name]
        yield Comparison(f"{name}: api / websocket", ratio, 1.0, "×", at_least=True)
    for name in names:
        rate = figures["tow direct"][name]
        yield Comparison(f"{name}: direct", rate, DIRECT_GBIT, "Gbit/s", at_least=True)


def _of_losses(found: dict[str, Any]) -> Iterator[Comparison]:
    for transport, by_loss in found.items():
        back = by_loss["cut"]["back"]
        yield Comparison(f"back after a cut: {transport}", back, BACK_SECONDS, "s")


def _of_connections(found: dict[str, Any]) -> Iterator[Comparison]:
    for transport, seen in found["transports"].items():
        none, some = seen["held"].values()
        count = list(seen["held"])[-1]
        more = some["session"] - none["session"]
        yield Comparison(f"session, {count} idle connections: {transport}", more, IDLE_MB, "MB")
        for kind, made in seen["made"][f"tow {transport}"].items():
            what = f"lost of {made['count']} connections {kind}: {transport}"
            yield Comparison(what, made["lost"], LOST)
        for process, before in seen["before"]["descriptors"].items():
            left = seen["after"]["descriptors"][process] - before
            yield Comparison(f"descriptors left, {process}: {transport}", left, LOST)


def _of_lookups(found: dict[str, Any]) -> Iterator[Comparison]:
    there = found["lookups"]["in the pod"]["p50"]
    for transport, bare in BARE.items():
        later = found["lookups"][transport]["p50"] - there - found["round_trips"][bare]
        what = f"lookup - in the pod - round trip of {bare}: {transport}"
        yield Comparison(what, later * 1000, LOOKUP_SECONDS * 1000, "ms")


OF_PARTS: dict[str, Callable[[dict[str, Any]], Iterator[Comparison]]] = {
    "transports": _of_flows,
    "losses": _of_losses,
    "connections": _of_connections,
    "lookups": _of_lookups,
}


def compare(part: str, results: dict[str, Any]) -> Iterator[Comparison]:
    """All comparisons that the results of a part allow."""
    if part in OF_PARTS:
        yield from OF_PARTS[part](results["found"])
