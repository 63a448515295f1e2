"""What has an address in the cluster, and whether it can answer there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from towline.cluster import podstate, service
from towline.cluster.ranges import Address
from towline.kube.client import Client
from towline.kube.errors import Forbidden
from towline.kube.resources import ENDPOINT_SLICES, PODS, SERVICES, Object, Resource
from towline.wire.target import Protocol


@dataclass(frozen=True, slots=True)
class Behind:
    """A Service or a Pod (`kind`).

    `ports` are those of one protocol that a service has, or that a pod's containers declare, which
    need not be all. `ready` and `unready` count the endpoints, or the pod itself.
    """

    kind: str
    namespace: str
    name: str
    ports: tuple[int, ...]
    ready: int
    unready: int


async def find(
    client: Client, address: Address, namespace: str, protocol: Protocol = Protocol.TCP
) -> Behind | None:
    """Who has an address, as far as the user may look: everywhere, or else in a namespace."""
    found = await _find(client, SERVICES, address, namespace, "spec.clusterIP", service.addresses)
    if found is not None:
        return await _of_service(client, found, protocol)
    found = await _find(client, PODS, address, namespace, "status.podIP", podstate.addresses)
    return None if found is None else _of_pod(found, protocol)


async def _find(
    client: Client,
    resource: Resource,
    address: Address,
    namespace: str,
    field: str,
    addresses: Callable[[Object], list[str]],
) -> Object | None:
    for where in (None, namespace):
        with suppress(Forbidden):
            # The field has the first address only, of those of two families.
            listed = await client.list(resource, namespace=where, fields=f"{field}={address}")
            listed = listed if listed.items else await client.list(resource, namespace=where)
            having = (it for it in listed.items if str(address) in map(_plain, addresses(it)))
            return next(having, None)
    return None


async def _of_service(client: Client, found: Object, protocol: Protocol) -> Behind:
    about = found["metadata"]
    ready = unready = 0
    with suppress(Forbidden):
        slices = await client.list(
            ENDPOINT_SLICES,
            namespace=about["namespace"],
            labels=f"kubernetes.io/service-name={about['name']}",
        )
        ready, unready = _endpoints(slices.items)
    offered = found["spec"].get("ports", ())
    ports = tuple(each["port"] for each in offered if _speaks(each, protocol))
    return Behind("Service", about["namespace"], about["name"], ports, ready, unready)


def _endpoints(slices: list[Object]) -> tuple[int, int]:
    """How many are ready and how many are not; one with addresses of both families is one."""
    states: dict[str, bool] = {}
    for each in slices:
        for endpoint in each.get("endpoints") or ():
            key = (endpoint.get("targetRef") or {}).get("name") or endpoint["addresses"][0]
            # Unknown counts as ready.
            ready = (endpoint.get("conditions") or {}).get("ready") is not False
            states[key] = states.get(key, False) or ready
    ready_ones = sum(states.values())
    return ready_ones, len(states) - ready_ones


def _of_pod(found: Object, protocol: Protocol) -> Behind:
    about = found["metadata"]
    ready = podstate.is_ready(found)
    ports = tuple(
        each["containerPort"]
        for container in found["spec"]["containers"]
        for each in container.get("ports", ())
        if _speaks(each, protocol)
    )
    return Behind("Pod", about["namespace"], about["name"], ports, int(ready), int(not ready))


def _speaks(port: Mapping[str, Any], protocol: Protocol) -> bool:
    return bool(port.get("protocol", "TCP") == protocol.name)


def _plain(text: str) -> str:
    """An address as we write it, whatever the API does; "" for none, such as `None`."""
    with suppress(ValueError):
        return str(ip_address(text))
    return ""
