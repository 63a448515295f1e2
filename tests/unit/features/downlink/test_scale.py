"""A workload without pods meanwhile: what is looked at, and the order of what is changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.fakes.apiserver import ApiServer
from tests.fakes.objectstore import Collection, Key
from towline.agent.undo import Record, of
from towline.cluster.interception import Interception
from towline.cluster.job import AgentSpec
from towline.cluster.workload import BorrowedLabels
from towline.errors import AccessError, SessionError, UsageError
from towline.features.downlink import scale
from towline.features.downlink.scale import Originals, Scaling
from towline.features.downlink.takeover import Takeover, Wanted
from towline.features.local.child import Child
from towline.features.reference import Reference
from towline.kube.client import Client
from towline.kube.resources import DEPLOYMENTS, PODS

SECONDS = 20.0
SHOP = Reference.parse("deploy/shop")
KEY = Key(Collection("apis/apps/v1", "deployments"), "default", "shop")
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@dataclass
class Told:
    """What the user has been told."""

    steps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def progress(self, message: str) -> None:
        self.steps.append(message)
        self.news.set()

    def event(self, _: str, message: str, **__: Any) -> None:
        self.notes.append(message)
        self.news.set()


def workload(replicas: int = 2, **spec: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "app", "ports": [{"name": "http", "containerPort": 8080}]}]}
    template = {"metadata": {"labels": {"app": "shop"}}, "spec": pod}
    selector = {"matchLabels": {"app": "shop"}}
    return {
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": selector, "template": template, **spec},
    }


@asynccontextmanager
async def cluster(
    found: dict[str, Any] | None = None, plural: str = "deployments"
) -> AsyncIterator[tuple[ApiServer, Client]]:
    """With a workload and the pod of an agent."""
    async with asyncio.timeout(SECONDS), ApiServer() as server, Client(server.access()) as client:
        await server.add("apis/apps/v1", plural, found or workload(), namespace="default")
        agent = {"metadata": {"name": "agent", "labels": {"towline/agent": "job"}}}
        await server.add("api/v1", "pods", agent, namespace="default")
        yield server, client


def wanted(target: str = "deploy/shop", *, force: bool = False) -> Wanted:
    return Wanted(
        Reference.parse(target),
        exposed=(),
        strict=False,
        force=force,
        copy=False,
        proxy_protocol=False,
        child=Child(()),
        agent=AgentSpec(name="job", owner="jane@laptop"),
        timeout_seconds=SECONDS,
    )


async def prepared(client: Client, **changes: Any) -> Takeover:
    return await scale.prepare(client, "default", wanted(**changes), Told())


# -- looking


async def test_agent_has_the_workloads_ports_and_may_undo() -> None:
    async with cluster() as (_, client):
        takeover = await prepared(client)
    (each,) = takeover.spec.intercepted
    assert (str(each.port), each.original) == ("8080/TCP", None)
    assert takeover.spec.port_names == {each.port: "http"}
    assert takeover.spec.may_undo
    assert takeover.spec.changed
    assert takeover.spec.changed.record.replicas == 2
    assert takeover.notes == []


async def test_agent_that_may_not_undo_is_told_nothing_and_the_user_is() -> None:
    async with cluster() as (server, client):
        server.allows = lambda what: what["resource"] != "roles"
        takeover = await prepared(client)
    assert takeover.spec.changed is None
    assert not takeover.spec.companions
    assert any("tow recover deploy/shop" in note for note in takeover.notes)


async def test_right_that_is_missing_is_named() -> None:
    async with cluster() as (server, client):
        server.allows = lambda what: (what["resource"], what["verb"]) != ("pods", "patch")
        with pytest.raises(AccessError, match="patch pods"):
            await prepared(client)


async def test_workload_that_somebody_has_is_refused_or_taken_over_with_its_replicas() -> None:
    async with cluster() as (_, client):
        first = await prepared(client)
        await first.switch.begin("agent")
        with pytest.raises(SessionError, match="jane@laptop"):
            await prepared(client)
        second = await prepared(client, force=True)
        assert second.spec.changed
        assert second.spec.changed.record.replicas == 2


async def test_stateful_set_that_would_lose_its_volumes_is_refused() -> None:
    policy = {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}
    found = workload(volumeClaimTemplates=[{}], **policy)
    async with cluster(found, "statefulsets") as (_, client):
        with pytest.raises(UsageError, match="volumes"):
            await prepared(client, target="sts/shop")


async def test_autoscaler_is_told_of_unless_it_is_anothers() -> None:
    async with cluster() as (server, client):
        for name in ("shop", "other"):
            reference = {"kind": "Deployment", "name": name}
            made = {"metadata": {"name": f"for-{name}"}, "spec": {"scaleTargetRef": reference}}
            root = "apis/autoscaling/v2"
            await server.add(root, "horizontalpodautoscalers", made, namespace="default")
        (note,) = (await prepared(client)).notes
        assert "for-shop" in note


@pytest.mark.parametrize("target", ["svc/shop", "ds/shop", "pod/shop"])
def test_what_has_no_scale_is_refused_with_an_alternative(target: str) -> None:
    with pytest.raises(UsageError) as caught:
        scale.refuse_if_unfit(Reference.parse(target))
    assert caught.value.hint


def test_mirror_has_no_use_for_it() -> None:
    with pytest.raises(UsageError, match="nobody"):
        scale.refuse_if_unfit(SHOP, copy=True)


# -- switching


@asynccontextmanager
async def scaling(
    told: Told, replicas: int = 2, seconds: float = SECONDS
) -> AsyncIterator[tuple[ApiServer, Client, Scaling]]:
    async with cluster(workload(replicas)) as (server, client):
        found = await client.get(DEPLOYMENTS, "shop", namespace="default")
        record = Record("job", "jane@laptop", "now", replicas=replicas)
        change = Interception(client, DEPLOYMENTS, found, record, str(SHOP))
        labels = BorrowedLabels(client, "default", {"app": "shop"})
        originals = Originals(client, SHOP, found, told, seconds)
        yield server, client, Scaling(change, labels, originals, told, spread_seconds=0.0)


async def is_led_to(client: Client, pod: str = "agent") -> bool:
    agent = await client.get(PODS, pod, namespace="default")
    return agent["metadata"]["labels"].get("app") == "shop"


def writes(server: ApiServer) -> list[str]:
    return [each.path.split("/")[-2] for each in server.requests if each.method == "PATCH"]


async def test_agents_pod_is_one_of_the_workloads_before_it_is_the_only_one() -> None:
    async with scaling(Told()) as (server, client, switch):
        await switch.begin("agent")
        assert writes(server) == ["pods", "deployments"]
        assert await is_led_to(client)
        assert server.store.get(KEY)["spec"]["replicas"] == 0


async def test_agents_pod_is_one_of_them_until_all_originals_are_ready() -> None:
    told = Told()
    async with scaling(told) as (server, client, switch):
        await switch.begin("agent")
        ending = asyncio.create_task(switch.end())
        for number in range(2):
            while not any(f"{number} of 2" in step for step in told.steps):
                await told.news.wait()
                told.news.clear()
            assert server.store.get(KEY)["spec"]["replicas"] == 2
            assert await is_led_to(client)
            metadata = {"name": f"shop-{number}", "labels": {"app": "shop"}}
            pod = {"metadata": metadata, "status": READY}
            await server.add("api/v1", "pods", pod, namespace="default")
        await ending
        assert not await is_led_to(client)
        assert of(server.store.get(KEY)) is None
        assert told.notes == []


async def test_originals_that_never_come_back_are_told_of() -> None:
    told = Told()
    async with scaling(told, seconds=0.1) as (_, client, switch):
        await switch.begin("agent")
        await switch.end()
        assert not await is_led_to(client)
        (note,) = told.notes
        assert "None of the pods of deploy/shop" in note


async def test_nothing_is_waited_for_when_somebody_has_taken_over() -> None:
    told = Told()
    async with scaling(told) as (server, client, switch):
        await switch.begin("agent")
        found = server.store.get(KEY)
        labels = {**found["metadata"]["labels"], "towline/interception": "another"}
        metadata = {**found["metadata"], "labels": labels}
        await server.store.update(KEY, {**found, "metadata": metadata})
        await switch.end()
        assert server.store.get(KEY)["spec"]["replicas"] == 0
        assert not await is_led_to(client)


async def test_workload_that_had_no_pods_gets_none() -> None:
    async with scaling(Told(), replicas=0) as (server, _, switch):
        await switch.begin("agent")
        await switch.end()
        assert server.store.get(KEY)["spec"]["replicas"] == 0
        assert of(server.store.get(KEY)) is None


async def test_new_pod_of_the_agent_is_led_to() -> None:
    async with scaling(Told()) as (server, client, switch):
        await switch.begin("agent")
        await server.add("api/v1", "pods", {"metadata": {"name": "new"}}, namespace="default")
        await switch.follow("new")
        found = await client.get(PODS, "new", namespace="default")
        assert found["metadata"]["labels"] == {"app": "shop"}


async def test_pod_of_whom_it_is_taken_from_gets_nothing_any_more() -> None:
    async with scaling(Told()) as (server, client, first):
        await first.begin("agent")
        agent = {"metadata": {"name": "second", "labels": {"towline/agent": "second"}}}
        await server.add("api/v1", "pods", agent, namespace="default")
        found = await client.get(DEPLOYMENTS, "shop", namespace="default")
        record = Record("second", "joe@desk", "now", replicas=2)
        change = Interception(client, DEPLOYMENTS, found, record, str(SHOP))
        labels = BorrowedLabels(client, "default", {"app": "shop"})
        originals = Originals(client, SHOP, found, Told(), SECONDS)
        await Scaling(change, labels, originals, Told(), spread_seconds=0.0).begin("second")
        assert not await is_led_to(client)
        assert await is_led_to(client, "second")
