"""The pod of a workload that connections go to, against an API server in memory."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.fakes.apiserver import ApiServer
from tests.fakes.objectstore import Collection, Key
from towline.features.reference import Reference
from towline.features.uplink.forward.pods import FollowedPod
from towline.kube.client import Client

DEPLOYMENT = {"spec": {"selector": {"matchLabels": {"app": "web"}}}}
PODS = Collection("api/v1", "pods")


def pod(name: str, address: str, *, ready: bool = True) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"app": "web"}},
        "status": {
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


async def test_connections_stay_with_a_pod_until_it_is_gone() -> None:
    moves: asyncio.Queue[str] = asyncio.Queue()
    async with ApiServer() as server, Client(server.access()) as client:
        await server.add("api/v1", "pods", pod("b", "10.0.0.2"), namespace="default")
        followed = FollowedPod(client, "default", Reference.parse("deploy/web"), DEPLOYMENT)
        following = asyncio.create_task(followed.follow(moves.put_nowait))
        await followed.known()
        assert (followed.name, followed.address) == ("b", "10.0.0.2")
        await server.add("api/v1", "pods", pod("a", "10.0.0.1"), namespace="default")
        await server.store.delete(Key(PODS, "default", "b"), {})
        assert await moves.get() == "a"
        assert followed.address == "10.0.0.1"
        await server.store.delete(Key(PODS, "default", "a"), {})
        assert await moves.get() == ""
        assert followed.address == ""
        following.cancel()


async def test_pod_without_an_owner_is_followed_by_its_name() -> None:
    moves: asyncio.Queue[str] = asyncio.Queue()
    async with ApiServer() as server, Client(server.access()) as client:
        await server.add("api/v1", "pods", pod("other", "10.0.0.9"), namespace="default")
        followed = FollowedPod(client, "default", Reference.parse("pod/db-0"), {})
        following = asyncio.create_task(followed.follow(moves.put_nowait))
        await followed.known()
        assert followed.address == ""
        await server.add("api/v1", "pods", pod("db-0", "10.0.0.1"), namespace="default")
        assert await moves.get() == "db-0"
        following.cancel()
