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


async def prepared(target_port: int | str) -> tuple[Takeover, ApiServer]:
    service: dict[str, Any] = {
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": target_port}]},
    }
    pod = {"metadata": {"name": "web-0", "labels": {"app": "web"}}, "spec": POD}
    async with asyncio.timeout(SECONDS), ApiServer() as server, Client(server.access()) as client:
        await server.add("api/v1", "services", service, namespace="default")
        await server.add("api/v1", "pods", pod, namespace="default")
        return await selector.prepare(client, "default", WANTED), server


@pytest.mark.parametrize(("target_port", "looks_at_pods"), [(8080, False), ("http", True)])
async def test_pods_are_looked_at_only_for_the_names_of_their_ports(
    target_port: int | str, looks_at_pods: bool
) -> None:
    takeover, server = await prepared(target_port)
    assert [each.listen.number for each in takeover.ports] == [8080]
    asked = [each.path for each in server.requests if each.method == "GET"]
    assert any(path.endswith("/pods") for path in asked) == looks_at_pods
