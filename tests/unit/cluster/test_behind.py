"""Who has an address, against an API server in memory."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from tests.fakes.apiserver import ApiServer
from towline.cluster import behind
from towline.cluster.behind import Behind
from towline.kube.client import Client
from towline.wire.target import Protocol

WEB: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "clusterIP": "10.96.0.7",
        "clusterIPs": ["10.96.0.7", "fd00::0007"],
        "ports": [{"port": 80}, {"port": 443, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
    },
}


def endpoint(name: str, address: str, *, ready: bool | None) -> dict[str, Any]:
    conditions = {} if ready is None else {"ready": ready}
    return {"addresses": [address], "targetRef": {"name": name}, "conditions": conditions}


def endpoint_slice(name: str, *endpoints: dict[str, Any]) -> dict[str, Any]:
    about = {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}}
    return {"metadata": about, "endpoints": list(endpoints)}


SLICES = [
    endpoint_slice(
        "v4",
        endpoint("a", "10.244.0.1", ready=True),
        endpoint("b", "10.244.0.2", ready=False),
        endpoint("c", "10.244.0.3", ready=None),
    ),
    endpoint_slice("v6", endpoint("a", "fd00:1::1", ready=True)),
]


def pod(name: str, address: str, *, ready: bool) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"containers": [{"ports": [{"containerPort": 8080}]}, {}]},
        "status": {
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


@pytest.mark.parametrize("address", ["10.96.0.7", "fd00::7"])
async def test_service_with_its_endpoints(address: str) -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        await server.add("api/v1", "services", WEB, namespace="shop")
        for each in SLICES:
            await server.add("apis/discovery.k8s.io/v1", "endpointslices", each, namespace="shop")
        found = await behind.find(client, ip_address(address), "default")
        by_udp = await behind.find(client, ip_address(address), "default", Protocol.UDP)
    assert found == Behind("Service", "shop", "web", (80, 443), ready=2, unready=1)
    assert by_udp == Behind("Service", "shop", "web", (53,), ready=2, unready=1)


async def test_pod_that_is_not_ready() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        made = pod("one", "10.244.0.9", ready=False)
        await server.add("api/v1", "pods", made, namespace="shop")
        found = await behind.find(client, ip_address("10.244.0.9"), "shop")
        assert found == Behind("Pod", "shop", "one", (8080,), ready=0, unready=1)
        assert await behind.find(client, ip_address("10.244.0.8"), "shop") is None


async def test_who_may_look_in_one_namespace_only_finds_what_is_there() -> None:
    async with ApiServer(allows=lambda asked: asked["namespace"] == "shop") as server:
        await server.add("api/v1", "services", WEB, namespace="shop")
        async with Client(server.access()) as client:
            found = await behind.find(client, ip_address("10.96.0.7"), "shop")
            assert found == Behind("Service", "shop", "web", (80, 443), ready=0, unready=0)
            assert await behind.find(client, ip_address("10.96.0.7"), "default") is None
