"""Services of ours: a name in the cluster for what an agent gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from towline.agent.undo import AGENT_LABEL
from towline.cluster.job import MANAGED_BY, OWNER, ROLE, SINCE, AgentSpec, now
from towline.errors import SessionError
from towline.kube.client import Client
from towline.kube.errors import AlreadyExists
from towline.kube.resources import SERVICES, Object
from towline.wire.target import Port


def addresses(service: Mapping[str, Any]) -> list[str]:
    """Its own addresses in the cluster, at most one of a family; a headless one has none."""
    return [each for each in service["spec"].get("clusterIPs", ()) if each != "None"]


def twin(
    service: Mapping[str, Any],
    selector: Mapping[str, str],
    agent: str,
    *,
    headless: bool = False,
    opaque: bool = False,
) -> Object:
    """A Service of another name that leads where one did, by its original selector.

    It has an address of its own, also if the service is headless, and none outside the cluster.
    One that is to be `headless` itself, for whoever balances over the pods' addresses, is an
    agent's second. What the service says about local traffic is not about the agent.

    With `opaque` its connections are just bytes to a mesh. A sidecar would else lead requests by
    the host that they name: to the service, and so to the agent again. It then has one family: a
    mesh may not serve the other, and bytes are not sent once more as a request would be.
    """
    spec = service["spec"]
    families = {"ipFamilyPolicy": "SingleStack", "ipFamilies": spec.get("ipFamilies", [])[:1]}
    kept = ("ipFamilies", "ipFamilyPolicy", "sessionAffinity", "sessionAffinityConfig")
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": headless_twin(agent) if headless else agent,
            "labels": {MANAGED_BY: "towline", ROLE: "original", AGENT_LABEL: agent},
        },
        "spec": {
            **({"clusterIP": "None"} if headless else {}),
            **{key: spec[key] for key in kept if key in spec},
            **(families if opaque else {}),
            "selector": dict(selector),
            "publishNotReadyAddresses": spec.get("publishNotReadyAddresses", False),
            "ports": [
                _twin_port(port, opaque=opaque and port.get("protocol", "TCP") == "TCP")
                for port in spec["ports"]
            ],
        },
    }


def headless_twin(agent: str) -> str:
    """The name of an agent's second twin."""
    return f"{agent}-pods"


def manifest(
    name: str, spec: AgentSpec, owners: Iterable[Mapping[str, Any]], *, external: bool
) -> Object:
    """A Service that leads to the agent's ports, under their own numbers.

    It goes with its `owners`, by their references. `external` asks for a load balancer,
    which comes with a port on every node.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "labels": {**spec.pod.labels, MANAGED_BY: "towline", ROLE: spec.role},
            "annotations": {
                OWNER: spec.owner,
                SINCE: now(),
            },
            "ownerReferences": [dict(owner) for owner in owners],
        },
        "spec": {
            "type": "LoadBalancer" if external else "ClusterIP",
            "ipFamilyPolicy": "PreferDualStack",
            "selector": {AGENT_LABEL: spec.name},
            "ports": [_service_port(each.port) for each in spec.intercepted],
        },
    }


async def create(client: Client, namespace: str, body: Object, *, dry_run: bool = False) -> Object:
    """Create a Service. Raises SessionError, with what is known of it, when there is one."""
    name = body["metadata"]["name"]
    try:
        return await client.create(SERVICES, body, namespace=namespace, dry_run=dry_run)
    except AlreadyExists:
        there = await client.get(SERVICES, name, namespace=namespace)
        raise _taken(there, namespace) from None


def _service_port(port: Port) -> dict[str, Any]:
    return {
        "name": f"{port.protocol.name.lower()}-{port.number}",
        "protocol": port.protocol.name,
        "port": port.number,
        "targetPort": port.number,
    }


def _twin_port(port: Mapping[str, Any], *, opaque: bool) -> dict[str, Any]:
    kept = {key: value for key, value in port.items() if key != "nodePort"}
    # https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/
    return {**kept, "appProtocol": "tcp"} if opaque else kept


def _taken(service: Mapping[str, Any], namespace: str) -> SessionError:
    head = service["metadata"]
    whose = head.get("annotations", {}).get(OWNER)
    by = f" of {whose}, since {head['annotations'].get(SINCE)}" if whose else ""
    return SessionError(
        f"There is a service {head['name']} in the namespace {namespace} already{by}.",
        "Choose another name: a preview never takes the place of a service.",
    )
