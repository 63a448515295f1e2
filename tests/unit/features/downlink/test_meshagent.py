"""The pod that a mesh begins with, as the service and its pods are."""

from __future__ import annotations

from typing import Any

import pytest

from towline.cluster.job import AgentSpec
from towline.cluster.sidecar import Sidecar
from towline.features.downlink import meshagent, meshports
from towline.features.downlink.meshagent import Beginning, Place
from towline.features.downlink.takeover import Sharing
from towline.kube.resources import SERVICES
from towline.routing.rules import Match

SHARING = Sharing((Match.parse("header:x-user"),), 0, "", "envoy:1")


def beginning(sidecar: Sidecar | None) -> Beginning:
    found: dict[str, Any] = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "selector": {"app": "web"},
            "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        },
    }
    ports = meshports.of_service(found, [])
    place = Place(found, {"app": "web"}, ports, meshports.choose(ports, (), tls=False), sidecar)
    return meshagent.beginning(place, AgentSpec(name="job"), SHARING, may_undo=False)


@pytest.mark.parametrize(
    ("sidecar", "original", "twins"),
    [(None, "job-pods:8080", {"job", "job-pods"}), (Sidecar(), "job:80", {"job"})],
)
def test_router_balances_over_the_pods_unless_a_sidecar_does(
    sidecar: Sidecar | None, original: str, twins: set[str]
) -> None:
    begun = beginning(sidecar)
    assert begun.spec.sidecar == sidecar
    (port,) = begun.table.ports
    assert f"{port.original.host}:{port.original.port}" == original
    made = {body["metadata"]["name"]: body for kind, body in begun.spec.companions}
    assert set(made) == twins
    assert all(kind == SERVICES for kind, _ in begun.spec.companions)
    opaque = [each.get("appProtocol") for each in made["job"]["spec"]["ports"]]
    assert opaque == (["tcp"] if sidecar else [None])
