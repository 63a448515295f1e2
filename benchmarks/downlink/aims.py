"""What is aimed at for the downlink."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.comparison import Comparison

ANSWERED_SECONDS = {"selector": 3.0, "ephemeral": 1.5}
ECHO_SECONDS = 150e-6
DISTURBED_SECONDS = {"killed": 3.0, "silent": 10.0}
LOST = 0
PEER = "websocket"
RATES = {
    "to_program": "bulk to the program",
    "from_program": "bulk from the program",
    "requests": "requests/s",
    "connections": "connections/s",
}


def compare(results: dict[str, Any]) -> Iterator[Comparison]:
    """All comparisons that the results allow."""
    for mode, aim in ANSWERED_SECONDS.items():
        answered = results["starts"][mode]["answered"]
        yield Comparison(f"first answer, --mode {mode}", answered, aim, "s")
    ways = results["ways"]
    later = (ways["exchange"]["echo"] - ways["tow"]["echo"]) * 1e6
    yield Comparison("round trip: exchange - uplink", later, ECHO_SECONDS * 1e6, "µs")
    for name, title in RATES.items():
        ratio = ways["exchange"][name] / ways[PEER][name]
        what = f"{title}: exchange / {PEER} reversed"
        yield Comparison(what, ratio, 1.0, "×", at_least=True)
    for what, aim in DISTURBED_SECONDS.items():
        seconds = results["disturbances"][what]["seconds"]
        yield Comparison(f"without an answer, laptop {what}", seconds, aim, "s")
    switches = results["switches"]
    what = f"lost at {switches['switches']} switches, of {switches['requests']} requests"
    yield Comparison(what, switches["lost"], LOST)
