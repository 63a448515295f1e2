"""The ranges of services, from the API server's own words to who asks for an address outside.

An allocator that is asked for such an address says which ones it has
(k8s.io/kubernetes/pkg/registry/core/service/ipallocator). By a dry run nothing is made.
"""

from __future__ import annotations

import asyncio
import re

from towline.cluster.ranges import Network, networks_of
from towline.kube.client import Client
from towline.kube.errors import Invalid
from towline.kube.resources import SERVICES

# Of documentation (RFC 5737, RFC 3849): in no cluster's range.
_OUTSIDE = {"IPv4": "192.0.2.1", "IPv6": "2001:db8::1"}
_RANGE = re.compile(r"range of valid IPs is ([0-9a-fA-F.:]+/\d+)")


async def ask(client: Client, namespace: str) -> frozenset[Network]:
    """The range of each family, or one of its ranges if there are several: not always the same.

    It takes the right to create services. Raises ApiError when the cluster does not answer so.
    """
    found = await asyncio.gather(*(_ask(client, namespace, family) for family in _OUTSIDE))
    return frozenset().union(*found)


def read(message: str) -> frozenset[Network]:
    """The ranges that an error names."""
    return networks_of(_RANGE.findall(message))


async def _ask(client: Client, namespace: str, family: str) -> frozenset[Network]:
    service = {
        "apiVersion": SERVICES.api_version,
        "kind": "Service",
        "metadata": {"generateName": "towline-"},
        "spec": {
            "clusterIP": _OUTSIDE[family],
            "ipFamilies": [family],
            "ports": [{"port": 1}],
        },
    }
    try:
        await client.create(SERVICES, service, namespace=namespace, dry_run=True)
    except Invalid as error:
        return read(error.status.message if error.status else "")
    return frozenset()
