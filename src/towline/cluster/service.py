"""Services of ours: a name in the cluster for what an agent gets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from towline.cluster.job import MANAGED_BY, OWNER, ROLE, SINCE, AgentSpec
from towline.errors import SessionError
from towline.kube.client import Client
from towline.kube.errors import AlreadyExists
from towline.kube.resources import SERVICES
from towline.wire.target import Port


def manifest(
    name: str, spec: AgentSpec, job: Mapping[str, Any], *, external: bool
) -> dict[str, Any]:
    """A Service that leads to the agent's ports, under their own numbers.

    It goes with the Job whose owner reference `job` is. `external` asks for a load balancer,
    which comes with a port on every node.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "labels": {MANAGED_BY: "towline", ROLE: spec.role},
            "annotations": {
                OWNER: spec.owner,
                SINCE: datetime.now(UTC).isoformat(timespec="seconds"),
            },
            "ownerReferences": [dict(job)],
        },
        "spec": {
            "type": "LoadBalancer" if external else "ClusterIP",
            "ipFamilyPolicy": "PreferDualStack",
            # The label without a prefix is older than Kubernetes 1.27, and still set.
            "selector": {"job-name": job["name"]},
            "ports": [_service_port(each.port) for each in spec.intercepted],
        },
    }


async def create(client: Client, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Create a Service. Raises SessionError, with what is known of it, when there is one."""
    name = body["metadata"]["name"]
    try:
        return await client.create(SERVICES, body, namespace=namespace)
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


def _taken(service: Mapping[str, Any], namespace: str) -> SessionError:
    head = service["metadata"]
    whose = head.get("annotations", {}).get(OWNER)
    by = f" of {whose}, since {head['annotations'].get(SINCE)}" if whose else ""
    return SessionError(
        f"There is a service {head['name']} in the namespace {namespace} already{by}.",
        "Choose another name: a preview never takes the place of a service.",
    )
