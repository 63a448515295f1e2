"""What is aimed at for the uplink, and how the figures of each part compare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.comparison import Comparison
from benchmarks.downlink import aims as downlink_aims
from benchmarks.mesh import aims as mesh_aims
from benchmarks.scale import aims as scale_aims
from benchmarks.transports import aims as transports_aims

PARTS = {"downlink": downlink_aims, "mesh": mesh_aims, "scale": scale_aims}

BULK = ("up_1", "down_1", "up_8", "down_8", "up_64", "down_64")
ECHO_SECONDS = 60e-6
CONNECT = {0: 2.5}  # by round-trip time in ms; else:
CONNECT_FAR = 1.1
FIRST = 2.2
READY_SECONDS = {0: 2.0, 80: 3.0}
SESSION_MB, AGENT_MB = 60.0, 30.0
HELP_SECONDS = 0.15


def compare(part: str, results: dict[str, Any]) -> Iterator[Comparison]:
    """All comparisons that the results of a part allow."""
    if part == "uplink":
        yield from _of_uplink(results)
    elif part in PARTS:
        yield from PARTS[part].compare(results)
    else:
        yield from transports_aims.compare(part, results)


def _of_uplink(results: dict[str, Any]) -> Iterator[Comparison]:
    for rtt, figures in results["rtt"].items():
        yield from _of(int(rtt), figures)
    idle = results["memory"]["idle"]
    yield Comparison("session resident, idle", idle["session"], SESSION_MB, "MB")
    yield Comparison("agent resident, idle", idle["agent"], AGENT_MB, "MB")
    yield Comparison("tow --help", results["help"] * 1000, HELP_SECONDS * 1000, "ms")


def _of(rtt: int, figures: dict[str, dict[str, float]]) -> Iterator[Comparison]:
    tow, raw = figures["tow"], figures["websocket"]
    at = f"at {rtt} ms"
    for name in BULK:
        ratio = tow[name] / raw[name]
        yield Comparison(f"{name} / websocket {at}", ratio, 1.0, "×", at_least=True)
    later = (tow["echo"] - raw["echo"]) * 1e6
    yield Comparison(f"round trip - websocket {at}", later, ECHO_SECONDS * 1e6, "µs")
    aim = CONNECT.get(rtt, CONNECT_FAR)
    yield Comparison(f"connection / round trip {at}", tow["connect"] / tow["echo"], aim, "×")
    first = tow["first"] / tow["echo"]
    yield Comparison(f"first connection / round trip {at}", first, FIRST, "×")
    if rtt in READY_SECONDS:
        yield Comparison(f"ready {at}", tow["ready"], READY_SECONDS[rtt], "s")
