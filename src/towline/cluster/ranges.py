"""Which addresses are a cluster's: its service and pod ranges, as far as the user may read them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_network,
)

from towline.kube.client import Client
from towline.kube.errors import Forbidden, NotFound
from towline.kube.resources import NODES, SERVICE_CIDRS, Object, Resource

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


async def discover(client: Client) -> list[Network]:
    """The service ranges (ServiceCIDR objects) and the pod ranges (the nodes' podCIDRs).

    What the user may not read, or the cluster does not have, is left out: names still work,
    as each address that the cluster's DNS gives can be added when it is first seen. Raises
    ApiError for other failures.
    """
    services, nodes = await asyncio.gather(_read(client, SERVICE_CIDRS), _read(client, NODES))
    texts = [text for item in services for text in item["spec"].get("cidrs", ())]
    texts += [text for item in nodes for text in item["spec"].get("podCIDRs", ())]
    return merge(map(ip_network, texts))


def merge(networks: Iterable[Network]) -> list[Network]:
    """The same addresses in as few networks as possible, IPv4 first."""
    networks = list(networks)
    four = collapse_addresses(net for net in networks if isinstance(net, IPv4Network))
    six = collapse_addresses(net for net in networks if isinstance(net, IPv6Network))
    return [*four, *six]


async def _read(client: Client, resource: Resource) -> list[Object]:
    try:
        return (await client.list(resource)).items
    except (Forbidden, NotFound):
        return []
