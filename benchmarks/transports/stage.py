"""Sessions by each transport, for which the laptop has a route to the pods, as by a VPN."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from benchmarks import ways
from benchmarks.ground import FIRST_PORT, Ground
from benchmarks.ways import Way
from lab import network
from lab.settings import PODS_V4

TRANSPORTS = ("api", "direct")

Say = Callable[[str], None]

PEERS = {"api": ("kubectl", "websocket"), "direct": ("direct",)}
"""What else goes the way of each transport: names of `MAKERS`."""

MAKERS = {"kubectl": ways.kubectl, "websocket": ways.websocket, "direct": ways.direct}


def routed(ground: Ground) -> AbstractContextManager[None]:
    """The laptop reaches the pods' addresses meanwhile."""
    return network.routed(ground.lab.layout, PODS_V4)


@contextmanager
def connected(ground: Ground, rtt: int, transport: str, *options: str) -> Iterator[Way]:
    """`tow connect` by a transport. `details` are its ready event."""
    with ways.session(ground, rtt, "connect", *arguments(ground, transport), *options) as (
        _,
        event,
    ):
        yield way(ground, transport, event)


def arguments(ground: Ground, transport: str) -> tuple[str, str]:
    """The options with which the target is reached by a transport, and not by the route."""
    return f"--transport={transport}", f"--include={ground.address}"


def way(ground: Ground, transport: str, event: dict[str, object]) -> Way:
    """The way through a session whose ready event this is."""
    name = f"tow {transport}"
    return Way(name, "laptop", ground.address, FIRST_PORT, all_ports=True, details=event)
