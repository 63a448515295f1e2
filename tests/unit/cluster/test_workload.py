"""A workload's pods, as a session looks at them, against an API server in memory."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.apiserver import ApiServer
from tests.fakes.objectstore import Collection, Key
from towline.cluster import workload
from towline.cluster.workload import BorrowedLabels
from towline.kube.call import Patience
from towline.kube.client import Client
from towline.kube.errors import ApiError
from towline.kube.resources import PODS

OWN = {"app": "agent", "job-name": "towline-1", "towline/agent": "towline-1"}
BORROWED = {"app": "web", "tier": "front"}


def deployment(labels: dict[str, str] | None = None, **selector: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": labels} if labels is not None else {}}
    spec = {"selector": selector, "template": template}
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}


def pod(name: str, *, ready: bool, **labels: str) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": {"name": name, "labels": labels}, "status": {"conditions": conditions}}


def test_labels_by_which_controllers_know_their_pods_are_not_for_others() -> None:
    labels = {
        "app": "web",
        "pod-template-hash": "abc",
        "controller-uid": "1",
        "batch.kubernetes.io/job-name": "j",
        "towline/agent": "other",
    }
    assert workload.labels(deployment(labels)) == {"app": "web"}
    assert workload.labels(deployment()) == {}


def test_selector_is_written_as_queries_have_it_and_leaves_agents_out() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["front", "back"]},
        {"key": "track", "operator": "NotIn", "values": ["canary"]},
        {"key": "team", "operator": "Exists"},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    assert workload.selector_text(
        {"matchLabels": {"app": "web"}, "matchExpressions": expressions}
    ) == ("app=web,tier in (front,back),track notin (canary),team,!old,!towline/agent")


async def test_ready_pods_are_known_as_they_come_and_go() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        for made in (
            pod("a", ready=True, app="web"),
            pod("b", ready=False, app="web"),
            pod("agent", ready=True, app="web", **{"towline/agent": "x"}),
            pod("other", ready=True, app="db"),
        ):
            await server.add("api/v1", "pods", made, namespace="default")
        labels = workload.selector_text({"matchLabels": {"app": "web"}})
        found = workload.ready_pods(client, "default", labels=labels)
        async with aclosing(found):
            assert (await anext(found)).keys() == {"a"}
            key = Key(Collection("api/v1", "pods"), "default", "b")
            conditions = [{"type": "Ready", "status": "True"}]
            await server.store.update(
                key, {**server.store.get(key), "status": {"conditions": conditions}}
            )
            assert (await anext(found)).keys() == {"a", "b"}
            await server.store.delete(key, {})
            assert (await anext(found)).keys() == {"a"}


async def labels_of(client: Client, name: str) -> dict[str, str]:
    labels: dict[str, str] = (await client.get(PODS, name, namespace="default"))["metadata"][
        "labels"
    ]
    return labels


async def test_borrowed_labels_are_given_back() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        await server.add("api/v1", "pods", pod("agent", ready=True, **OWN), namespace="default")
        borrowed = BorrowedLabels(client, "default", BORROWED)
        for _ in range(2):
            await borrowed.put_on("agent")
            assert await labels_of(client, "agent") == {**OWN, **BORROWED}
        await borrowed.take_off()
        assert await labels_of(client, "agent") == OWN


async def test_labels_that_may_have_been_borrowed_are_given_back() -> None:
    async with ApiServer() as server, Client(server.access(), Patience(attempts=1)) as client:
        await server.add("api/v1", "pods", pod("agent", ready=True, **OWN), namespace="default")
        borrowed = BorrowedLabels(client, "default", BORROWED)
        unanswered = True

        async def no_answer(request: web.Request) -> web.StreamResponse | None:
            nonlocal unanswered
            if request.method != "PATCH" or not unanswered:
                return None
            unanswered = False
            key = Key(Collection("api/v1", "pods"), "default", "agent")
            found = server.store.get(key)
            metadata = {**found["metadata"], "labels": {**OWN, **BORROWED}}
            await server.store.update(key, {**found, "metadata": metadata})
            return web.Response(status=500)

        server.faults.append(no_answer)
        with pytest.raises(ApiError):
            await borrowed.put_on("agent")
        await borrowed.put_on("agent")
        await borrowed.take_off()
        assert await labels_of(client, "agent") == OWN


async def test_pod_that_is_gone_needs_no_labels_back() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        await server.add("api/v1", "pods", pod("agent", ready=True, **OWN), namespace="default")
        borrowed = BorrowedLabels(client, "default", BORROWED)
        await borrowed.put_on("agent")
        await server.store.delete(Key(Collection("api/v1", "pods"), "default", "agent"), {})
        await borrowed.take_off()


async def test_without_labels_to_borrow_nothing_is_asked() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        await BorrowedLabels(client, "default", {}).put_on("agent")
        assert server.requests == []
