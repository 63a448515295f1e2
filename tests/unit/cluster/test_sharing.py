"""The one agent of several sessions, against an API server whose controllers the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes.apiserver import ApiServer
from tests.fakes.objectstore import Collection, Key
from tests.unit.cluster.controllers import RUNNING, play_pod, set_status, the_job
from towline.cluster import sharing
from towline.cluster.job import JOINED, AgentSpec, manifest
from towline.cluster.keeper import AgentKeeper
from towline.cluster.podwishes import PodWishes
from towline.cluster.quantity import cpu
from towline.cluster.sharing import differences, shared
from towline.cluster.sidecar import Sidecar
from towline.errors import AgentError
from towline.kube.client import Client
from towline.kube.resources import JOBS

JOB = Collection("apis/batch/v1", "jobs")
CANNOT_PULL = {
    "phase": "Pending",
    "containerStatuses": [
        {"image": "i", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}
    ],
}
LEFT = {"phase": "Succeeded"}
EVICTED = {"phase": "Failed", "reason": "Evicted"}


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer() as server:
        yield server


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[Client]:
    async with Client(server.access()) as client:
        yield client


def keeper(client: Client, spec: AgentSpec | None = None, seconds: float = 10) -> AgentKeeper:
    said: list[str] = []
    return AgentKeeper(client, "default", spec or shared(AgentSpec()), said.append, seconds)


@asynccontextmanager
async def both(server: ApiServer, client: Client) -> AsyncIterator[tuple[AgentKeeper, AgentKeeper]]:
    """Two sessions that have begun at once, and are linked."""
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(keeper(client)) for _ in range(2)]
        await begin(server, client, first, second)
        for each in (first, second):
            await each.settle()
        yield first, second


async def begin(server: ApiServer, client: Client, *keepers: AgentKeeper) -> None:
    async with asyncio.TaskGroup() as group:
        for each in keepers:
            group.create_task(each.start())
        await play_pod(server, client, RUNNING)


async def jobs(client: Client) -> list[dict[str, Any]]:
    return (await client.list(JOBS, namespace="default")).items


async def test_two_that_begin_at_once_use_one_job(server: ApiServer, client: Client) -> None:
    async with both(server, client) as (first, second):
        assert first.pod == second.pod != ""
        assert len(await jobs(client)) == 1


async def test_who_has_begun_it_leaves_it_to_the_others(server: ApiServer, client: Client) -> None:
    async with keeper(client) as second:
        async with keeper(client) as first:
            await begin(server, client, first)
            await first.settle()
            await second.start()
        assert len(await jobs(client)) == 1
        assert second.pod == first.pod
        assert second.note == ""


async def test_who_gives_up_before_anybody_else_came_takes_it_away(client: Client) -> None:
    async with keeper(client) as first:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(first.start(), 0.3)
        assert len(await jobs(client)) == 1
    assert await jobs(client) == []


async def test_who_gives_up_leaves_it_to_somebody_who_waits_for_it(
    server: ApiServer, client: Client
) -> None:
    async with keeper(client) as second:
        async with keeper(client) as first:
            starting = asyncio.create_task(first.start())
            await the_job(client)
            joining = asyncio.create_task(second.start())
            await joined(client)
            starting.cancel()
        await play_pod(server, client, RUNNING)
        await joining
        assert second.pod


async def joined(client: Client) -> None:
    while JOINED not in (await the_job(client))["metadata"]["annotations"]:
        await asyncio.sleep(0.01)


async def test_job_whose_pod_cannot_start_is_taken_away_by_whoever_sees_it(
    server: ApiServer, client: Client
) -> None:
    async with keeper(client) as second:
        with pytest.raises(AgentError, match="cannot be pulled"):
            async with keeper(client) as first:
                starting = asyncio.create_task(first.start())
                await the_job(client)
                joining = asyncio.create_task(second.start())
                await joined(client)
                await play_pod(server, client, CANNOT_PULL)
                await starting
        with pytest.raises(AgentError, match="cannot be pulled"):
            await joining
        assert await jobs(client) == []


async def test_deadline_is_not_put_back_on_a_job_that_is_in_use(
    server: ApiServer, client: Client
) -> None:
    async with keeper(client) as first:
        await begin(server, client, first)
        await first.settle()
        async with keeper(client) as second:
            await second.start()
            assert "activeDeadlineSeconds" not in (await the_job(client))["spec"]


async def test_job_whose_last_user_has_left_is_made_anew(server: ApiServer, client: Client) -> None:
    async with keeper(client) as first:
        await begin(server, client, first)
        await first.settle()
        old = await the_job(client)
        await set_status(server, first.pod, LEFT)
        async with keeper(client) as second:
            await begin(server, client, second)
            new = await the_job(client)
            assert new["metadata"]["uid"] != old["metadata"]["uid"]
            assert second.pod != first.pod


async def test_job_that_ends_while_it_is_waited_for_is_made_anew(
    server: ApiServer, client: Client
) -> None:
    async with keeper(client) as first:
        starting = asyncio.create_task(first.start())
        old = await the_job(client)
        async with keeper(client) as second:
            joining = asyncio.create_task(second.start())
            await joined(client)
            starting.cancel()
            await server.store.delete(Key(JOB, "default", old["metadata"]["name"]), {})
            await play_pod(server, client, RUNNING)
            await joining
            assert (await the_job(client))["metadata"]["uid"] != old["metadata"]["uid"]


async def test_job_that_does_not_end_is_said(server: ApiServer, client: Client) -> None:
    ending = manifest(shared(AgentSpec()))
    ending["metadata"]["finalizers"] = ["example.com/held"]
    await server.add("apis/batch/v1", "jobs", ending, namespace="default")
    await client.delete(JOBS, ending["metadata"]["name"], namespace="default")
    with pytest.raises(AgentError, match="has not ended within 1 s") as caught:
        async with keeper(client, seconds=1) as late:
            await late.start()
    assert "--share" in caught.value.hint


async def test_lost_pod_is_replaced_by_one_for_all(server: ApiServer, client: Client) -> None:
    async with both(server, client) as (first, second):
        lost = first.pod
        await set_status(server, lost, EVICTED)
        for each in (first, second):
            each.doubt()
        async with asyncio.TaskGroup() as group:
            for each in (first, second):
                group.create_task(_connect(each))
            await play_pod(server, client, RUNNING)
        assert first.pod == second.pod != lost
        assert len(await jobs(client)) == 1


async def _connect(one: AgentKeeper) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 (nothing forwards ports here)
        await one.connect(asyncio.Protocol)


async def test_what_runs_another_program_is_not_used(server: ApiServer, client: Client) -> None:
    theirs = manifest(shared(AgentSpec()))
    theirs["spec"]["template"]["spec"]["containers"][0]["command"] = ["python3", "-c", "listen()"]
    await server.add("apis/batch/v1", "jobs", theirs, namespace="default")
    async with keeper(client) as second:
        with pytest.raises(AgentError, match="another program"):
            await second.start()
    assert len(await jobs(client)) == 1


async def test_who_wants_another_pod_is_told_what_there_is(
    server: ApiServer, client: Client
) -> None:
    async with keeper(client, shared(AgentSpec(owner="alice@desk"))) as first:
        await begin(server, client, first)
        await first.settle()
        wanted = AgentSpec(image="mine", pod=PodWishes(cpu=cpu("100m"), labels={"team": "shop"}))
        async with keeper(client, shared(wanted)) as second:
            await second.start()
            assert second.pod == first.pod
    assert second.note == (
        "The shared agent is as alice@desk has begun it: "
        f"--image {AgentSpec().image} instead of mine, "
        '--label nothing instead of {"team": "shop"}, --cpu nothing instead of 100m.'
    )


def test_name_follows_from_what_must_be_equal() -> None:
    spec = AgentSpec()
    name = shared(spec).name
    assert name == shared(AgentSpec(image="other", owner="bob@desk")).name
    assert name.startswith("towline-shared-")
    assert name != shared(replace(spec, pod=PodWishes(dns_policy="None"))).name
    assert name != shared(replace(spec, sidecar=Sidecar.of_revision(""))).name


def test_another_version_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    name = shared(AgentSpec()).name
    monkeypatch.setattr(sharing.bundle, "command", lambda: ("python3", "-c", "another"))
    assert shared(AgentSpec()).name != name


def test_nothing_differs_from_itself() -> None:
    spec = shared(AgentSpec(pod=PodWishes(annotations={"a": "b"})))
    assert differences(manifest(spec), spec) == ""
