"""What is looked at before a service's selector is changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes.apiserver import ApiServer
from towline.cluster.job import AgentSpec
from towline.features.downlink import selector
from towline.features.downlink.takeover import Takeover, Wanted
from towline.features.local.child import Child
from towline.features.reference import Reference
from towline.kube.client import Client
from towline.kube.resources import SERVICES

SECONDS = 20.0
WANTED = Wanted(
    Reference.parse("web"),
    exposed=(),
    strict=False,
    force=False,
    copy=False,
    proxy_protocol=False,
    child=Child(()),
    agent=AgentSpec(name="job", owner="jane@laptop"),
    timeout_seconds=SECONDS,
)
POD = {"containers": [{"name": "app", "ports": [{"name": "http", "containerPort": 8080}]}]}


async def prepared(
    target_port: int | str, spec: dict[str, Any] = POD
) -> tuple[Takeover, ApiServer]:
    service: dict[str, Any] = {
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": target_port}]},
    }
    pod = {"metadata": {"name": "web-0", "labels": {"app": "web"}}, "spec": spec}
    async with asyncio.timeout(SECONDS), ApiServer() as server, Client(server.access()) as client:
        await server.add("api/v1", "services", service, namespace="default")
        await server.add("api/v1", "pods", pod, namespace="default")
        return await selector.prepare(client, "default", WANTED), server


@pytest.mark.parametrize(("target_port", "looks_at_all"), [(8080, False), ("http", True)])
async def test_all_pods_are_looked_at_only_for_the_names_of_their_ports(
    target_port: int | str, looks_at_all: bool
) -> None:
    takeover, server = await prepared(target_port)
    assert [each.listen.number for each in takeover.ports] == [8080]
    limits = [int(each.query["limit"]) for each in server.requests if each.path.endswith("/pods")]
    assert any(limit > 100 for limit in limits) == looks_at_all


async def test_agent_of_a_service_in_a_mesh_is_in_it_and_passes_on_just_bytes() -> None:
    takeover, _ = await prepared(8080, {**POD, "initContainers": [{"name": "istio-proxy"}]})
    assert takeover.spec.sidecar is not None
    assert _twin(takeover)["ports"] == [{"port": 80, "targetPort": 8080, "appProtocol": "tcp"}]
    assert _twin(takeover)["ipFamilyPolicy"] == "SingleStack"


async def test_twin_of_a_service_outside_of_a_mesh_is_as_the_service() -> None:
    takeover, _ = await prepared(8080)
    assert takeover.spec.sidecar is None
    assert _twin(takeover)["ports"] == [{"port": 80, "targetPort": 8080}]


def _twin(takeover: Takeover) -> dict[str, Any]:
    return next(body["spec"] for kind, body in takeover.spec.companions if kind == SERVICES)
