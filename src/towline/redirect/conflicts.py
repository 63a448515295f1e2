"""Where the cluster's ranges and this machine's own routes claim the same addresses."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from towline.errors import RedirectError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from towline.redirect.messages import IPNetwork
    from towline.redirect.packets import IPAddress

# Types of route (ip-route(8)) that are not a way to somewhere else.
_NOT_A_WAY = frozenset({"local", "broadcast", "anycast", "multicast", "nat"})
# VPNs take over everything by two or more halves of it, which are as good as a default route.
_DEFAULT_PREFIX = {4: 1, 6: 3}


@dataclass(frozen=True, slots=True)
class Route:
    """A route of this machine: where it leads (`device`, empty for one that leads nowhere)."""

    network: IPNetwork
    device: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """A route of this machine that overlaps a range of the cluster.

    `cluster_wins` says whose the shared addresses are while connected: the longer prefix's,
    this machine's when both are as long.
    """

    wanted: IPNetwork
    route: Route
    cluster_wins: bool

    @property
    def shared(self) -> IPNetwork:
        """The addresses that both claim."""
        return self.wanted if self.cluster_wins else self.route.network

    def __str__(self) -> str:
        own = f"{self.route.network} ({self.route.device or 'no device'})"
        if self.cluster_wins:
            return f"{self.wanted} of the cluster hides a part of this machine's route {own}"
        return f"this machine's route {own} hides a part of {self.wanted} of the cluster"


def find(wanted: Iterable[IPNetwork], routes: Iterable[Route]) -> list[Conflict]:
    """Say which routes overlap which ranges; default routes, whole or in halves, never do."""
    routes = list(routes)
    return [
        Conflict(network, route, network.prefixlen > route.network.prefixlen)
        for network in wanted
        for route in routes
        if network.version == route.network.version
        and route.network.prefixlen > _DEFAULT_PREFIX[network.version]
        and network.overlaps(route.network)
    ]


def read_routes() -> list[Route]:
    """Read this machine's routes of both families, in all tables; sessions' own left out.

    Raises RedirectError when `ip` (iproute2) is missing or fails.
    """
    routes: list[Route] = []
    for family in ("-4", "-6"):
        routes += routes_of(_ip(family, "route", "show", "table", "all"))
    return routes


def device_to(address: IPAddress) -> str:
    """Say which device this machine sends to an address by, whoever made the route; "" for none.

    Raises RedirectError when `ip` (iproute2) is missing.
    """
    try:
        found = _ip("route", "get", str(address))
    except RedirectError as error:
        if isinstance(error.__cause__, subprocess.CalledProcessError):
            return ""  # there is none, or one that leads nowhere
        raise
    return str(found[0].get("dev", "")) if found else ""


def _ip(*arguments: str) -> list[dict[str, object]]:
    try:
        done = subprocess.run(
            ["ip", "-json", *arguments], capture_output=True, check=True, timeout=10
        )
        answer: list[dict[str, object]] = json.loads(done.stdout or b"[]")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise RedirectError(
            "This machine's routes could not be read.", "Install iproute2 (the command `ip`)."
        ) from error
    return answer


def routes_of(entries: Iterable[Mapping[str, object]]) -> list[Route]:
    """Pick from the output of `ip -json route` what leads away from this machine."""
    routes = []
    for entry in entries:
        device = str(entry.get("dev", ""))
        if entry.get("type") in _NOT_A_WAY or re.fullmatch(r"tow\d+", device):
            continue
        destination = str(entry["dst"])
        if destination == "default":
            continue
        network = ipaddress.ip_network(destination, strict=False)
        if not (network.is_link_local or network.is_multicast or network.is_loopback):
            routes.append(Route(network, device))
    return routes


def read_near() -> set[IPAddress]:
    """The routers that this machine's routes lead to, and the neighbours that it speaks with.

    Without `ip` (iproute2) there is nothing to say.
    """
    found = set()
    for family in ("-4", "-6"):
        for what in (("route", "show", "table", "all"), ("neighbour", "show")):
            with suppress(RedirectError):
                found |= near_of(_ip(family, *what))
    return found


def near_of(entries: Iterable[Mapping[str, object]]) -> set[IPAddress]:
    """Pick gateways and neighbours from the output of `ip -json route` or `neighbour`."""
    found = set()
    for entry in entries:
        silent = entry.get("state") in (["FAILED"], ["INCOMPLETE"], ["NOARP"])
        text = entry.get("gateway") or ("lladdr" in entry and not silent and entry.get("dst"))
        if isinstance(text, str):
            with suppress(ValueError):
                found.add(ipaddress.ip_address(text))
    return found


class Holes:
    """Networks that are to be left out of others. It costs little when there are thousands."""

    def __init__(self, networks: Iterable[IPNetwork]) -> None:
        networks = list(networks)
        self._by_version = {version: _sorted(networks, version) for version in (4, 6)}

    def out_of(self, networks: Iterable[IPNetwork]) -> list[IPNetwork]:
        """The same addresses as some networks' but for those, in as few as possible.

        The order stays.
        """
        return [
            piece
            for network in networks
            for piece in _pieces(network, _touching(network, *self._by_version[network.version]))
        ]


def without(networks: Iterable[IPNetwork], holes: Iterable[IPNetwork]) -> list[IPNetwork]:
    """Take holes out of networks: see :meth:`Holes.out_of`."""
    return Holes(holes).out_of(networks)


def _sorted(holes: Iterable[IPNetwork], version: int) -> tuple[list[int], list[IPNetwork]]:
    """The holes of a family without overlaps, and where each begins."""
    of_family: list[Any] = [hole for hole in holes if hole.version == version]
    disjoint = list(ipaddress.collapse_addresses(of_family))
    return [int(hole.network_address) for hole in disjoint], disjoint


def _touching(network: IPNetwork, starts: list[int], holes: list[IPNetwork]) -> list[IPNetwork]:
    first = max(0, bisect_right(starts, int(network.network_address)) - 1)
    last = bisect_right(starts, int(network.broadcast_address))
    return [hole for hole in holes[first:last] if hole.overlaps(network)]


def _pieces(network: IPNetwork, holes: list[IPNetwork]) -> Iterator[IPNetwork]:
    """What of a network is outside of holes that all touch it."""
    if not holes:
        yield network
    elif holes[0].prefixlen > network.prefixlen:
        for half in network.subnets():
            yield from _pieces(half, [hole for hole in holes if hole.overlaps(half)])
