"""What a user may name in a cluster: for completion on the command line."""

from __future__ import annotations

import asyncio

from towline.cluster.job import MANAGED_BY
from towline.features.downlink import ports
from towline.features.reference import Reference
from towline.kube.client import Client
from towline.kube.errors import ApiError
from towline.kube.resources import (
    DAEMON_SETS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)
from towline.wire.target import Protocol

# Pods, which are many, are for those who have begun with pod/.
_UNASKED = (SERVICES, DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS)
_NOT_OURS = f"{MANAGED_BY}!=towline"


async def namespaces(client: Client) -> list[str]:
    """All namespaces. Raises ApiError."""
    found = await client.list(NAMESPACES)
    return [item["metadata"]["name"] for item in found.items]


async def targets(client: Client, namespace: str, beginning: str) -> list[str]:
    """What can be intercepted, as Reference reads it, if `beginning` is how it is written.

    Services by their names, workloads by kind and name, pods when their kind is what it begins
    with. What may not be listed is left out. Raises UsageError when there is no such kind.
    """
    kind, slash, _ = beginning.rpartition("/")
    if slash:
        resource = Reference.parse(f"{kind}/any").resource
        return [f"{kind}/{name}" for name in await _names(client, resource, namespace)]
    found = await asyncio.gather(*(_names(client, each, namespace) for each in _UNASKED))
    return [
        name if resource == SERVICES else str(Reference(resource, name))
        for resource, names in zip(_UNASKED, found, strict=True)
        for name in names
    ]


async def port_names(client: Client, namespace: str, target: str) -> list[str]:
    """The ports of a target as `--expose` may name them: each by its number, and its name.

    Raises ApiError, and UsageError for what is no target or has ports that cannot be exposed.
    """
    reference = Reference.parse(target)
    found = await client.get(reference.resource, reference.name, namespace=namespace)
    spec = found["spec"]
    if reference.resource == SERVICES:
        known = ports.of_service(found, ())
    elif reference.resource == PODS:
        known = ports.of_containers(spec, ())
    else:
        known = ports.of_containers(spec["template"]["spec"], ())
    written = {Protocol.TCP: "", Protocol.UDP: "/udp"}
    numbers = [f"{each.port.number}{written[each.port.protocol]}" for each in known]
    return list(dict.fromkeys([*numbers, *(each.name for each in known if each.name)]))


async def _names(client: Client, resource: Resource, namespace: str) -> list[str]:
    try:
        found = await client.list(resource, namespace=namespace, labels=_NOT_OURS)
    except ApiError:
        return []
    return [item["metadata"]["name"] for item in found.items]
