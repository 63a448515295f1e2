"""A cluster's addresses: what each source says of them, and how networks are compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Kind(StrEnum):
    """Whose addresses they are."""

    SERVICES = "services"
    PODS = "pods"


class Source(StrEnum):
    """Where a range is known from; the earlier ones say all there is, the later ones guess."""

    SERVICE_CIDRS = "servicecidrs"
    API_ERRORS = "api-errors"
    NODES = "nodes"
    AGENT = "agent"
    SEEN = "seen"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source says of one kind of address; `why` it says nothing, if it does not."""

    source: Source
    kind: Kind
    networks: frozenset[Network] = frozenset()
    why: str = ""


def merge(networks: Iterable[Network]) -> list[Network]:
    """The same addresses in as few networks as possible, IPv4 first."""
    networks = list(networks)
    four = collapse_addresses(net for net in networks if isinstance(net, IPv4Network))
    six = collapse_addresses(net for net in networks if isinstance(net, IPv6Network))
    return [*four, *six]


def networks_of(texts: Iterable[object]) -> frozenset[Network]:
    """Read networks and addresses; what is neither is left out."""
    found = set()
    for text in texts:
        try:
            found.add(ip_network(str(text), strict=False))
        except ValueError:
            continue
    return frozenset(found)


def is_within(network: Network, other: Network) -> bool:
    """Whether all addresses of a network are in another one."""
    return (
        network.version == other.version
        and network.prefixlen >= other.prefixlen
        and network.network_address in other
    )
