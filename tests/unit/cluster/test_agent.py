"""The agent's start and end against an API server whose controllers are played by the test."""

import asyncio
from typing import Any

import pytest

from tests.fakes.apiserver import ApiServer
from tests.fakes.objectstore import Collection, Key
from towline.cluster.agent import Agent
from towline.cluster.job import AgentSpec
from towline.cluster.keeper import AgentKeeper
from towline.errors import AccessError, AgentError
from towline.kube.client import Client
from towline.kube.errors import Forbidden, NotFound
from towline.kube.resources import JOBS

RUNNING = {"containerStatuses": [{"image": "i", "state": {"running": {}}}], "phase": "Running"}


async def the_job(client: Client) -> dict[str, Any]:
    """The Job, as soon as there is one."""
    while not (items := (await client.list(JOBS, namespace="default")).items):
        await asyncio.sleep(0.005)
    job: dict[str, Any] = items[0]
    return job


async def play_pod(server: ApiServer, client: Client, status: dict[str, Any]) -> dict[str, Any]:
    """Make the Job's pod, as the Job controller and a kubelet would; gives the Job."""
    job = await the_job(client)
    name = job["metadata"]["name"]
    labels = {"batch.kubernetes.io/job-name": name}
    pod = {"metadata": {"name": f"{name}-pod", "labels": labels}, "status": status}
    await server.add("api/v1", "pods", pod, namespace="default")
    return job


def an_event(job: dict[str, Any], reason: str, message: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "event"},
        "involvedObject": {"name": job["metadata"]["name"]},
        "reason": reason,
        "message": message,
    }


async def test_start_returns_with_the_pod_when_it_runs() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        agent, said = Agent(client, "default", AgentSpec()), list[str]()
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.start(said.append, 10))
            job = await play_pod(server, client, RUNNING)
        assert agent.pod == f"{job['metadata']['name']}-pod"
        assert said[0] == "Waiting for the cluster to accept the agent's Job"
        assert await agent.is_running()


async def test_settle_lifts_the_deadline() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        agent = Agent(client, "default", AgentSpec())
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.start(lambda _: None, 10))
            job = await play_pod(server, client, RUNNING)
        assert job["spec"]["activeDeadlineSeconds"] == AgentSpec().lease_seconds
        await agent.settle()
        assert "activeDeadlineSeconds" not in (await the_job(client))["spec"]


async def test_deadline_moves_on_while_the_pod_is_waited_for() -> None:
    spec = AgentSpec(grace_seconds=-14)  # a lease of a second, renewed three times in it
    async with ApiServer() as server, Client(server.access()) as client:
        agent = Agent(client, "default", spec)
        with pytest.raises(AgentError, match="not started within 1 s"):
            await agent.start(lambda _: None, 1.4)
        job = await the_job(client)
        assert job["spec"]["activeDeadlineSeconds"] > spec.lease_seconds


async def test_pod_that_cannot_start_is_an_error() -> None:
    waiting = {"reason": "InvalidImageName", "message": "bad"}
    status = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": waiting}}]}
    async with ApiServer() as server, Client(server.access()) as client:
        agent = Agent(client, "default", AgentSpec())
        with pytest.raises(BaseExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(agent.start(lambda _: None, 10))
                await play_pod(server, client, status)
        assert caught.group_contains(AgentError, match="not the name of an image")


async def test_refused_pod_is_told_by_its_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towline.cluster.agent.EXPLAIN_SECONDS", 0.01)
    async with ApiServer() as server, Client(server.access()) as client:
        agent = Agent(client, "default", AgentSpec())
        with pytest.raises(BaseExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(agent.start(lambda _: None, 10))
                event = an_event(await the_job(client), "FailedCreate", "exceeded quota: q")
                await server.add("api/v1", "events", event, namespace="default")
        assert caught.group_contains(AccessError, match="quota")


async def test_stop_deletes_the_job_and_may_be_called_again() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        agent = Agent(client, "default", AgentSpec())
        await agent.stop()
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.start(lambda _: None, 10))
            await play_pod(server, client, RUNNING)
        await agent.stop()
        await agent.stop()
        assert (await client.list(JOBS, namespace="default")).items == []


async def test_no_right_to_create_jobs_is_told_before_anything_is_made() -> None:
    server = ApiServer(allows=lambda what: what["resource"] != "jobs")
    async with server, Client(server.access()) as client:
        with pytest.raises(Forbidden, match="create jobs"):
            await Agent(client, "default", AgentSpec()).start(lambda _: None, 10)


async def test_keeper_deletes_the_job_at_the_end() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        async with AgentKeeper(client, "default", AgentSpec(), lambda _: None, 10) as keeper:
            async with asyncio.TaskGroup() as group:
                group.create_task(keeper.start())
                await play_pod(server, client, RUNNING)
        assert (await client.list(JOBS, namespace="default")).items == []


async def test_keeper_replaces_a_lost_pod_when_it_is_next_needed() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        async with AgentKeeper(client, "default", AgentSpec(), lambda _: None, 10) as keeper:
            async with asyncio.TaskGroup() as group:
                group.create_task(keeper.start())
                job = await play_pod(server, client, RUNNING)
            lost = keeper.pod
            for plural, name in (("pods", lost), ("jobs", job["metadata"]["name"])):
                root = "api/v1" if plural == "pods" else "apis/batch/v1"
                await server.store.delete(Key(Collection(root, plural), "default", name), {})
            keeper.doubt()
            async with asyncio.TaskGroup() as group:
                # Nothing forwards ports here: what counts is that another agent was started.
                connecting = group.create_task(_swallow(keeper))
                await play_pod(server, client, RUNNING)
            assert connecting.done()
            assert keeper.pod not in ("", lost)


async def _swallow(keeper: AgentKeeper) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011
        await keeper.connect(asyncio.Protocol)


async def test_keeper_says_when_the_job_could_not_be_deleted() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        with pytest.raises(AgentError, match="could not be deleted") as caught:
            async with AgentKeeper(client, "default", AgentSpec(), lambda _: None, 10) as keeper:
                async with asyncio.TaskGroup() as group:
                    group.create_task(keeper.start())
                    await play_pod(server, client, RUNNING)
                server.fail(500, times=100, message="down")
        assert "by itself" in caught.value.hint


async def test_job_of_an_agent_that_is_gone_is_no_error_at_the_end() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        async with AgentKeeper(client, "default", AgentSpec(), lambda _: None, 10) as keeper:
            async with asyncio.TaskGroup() as group:
                group.create_task(keeper.start())
                job = await play_pod(server, client, RUNNING)
            name = job["metadata"]["name"]
            await server.store.delete(Key(Collection("apis/batch/v1", "jobs"), "default", name), {})
        with pytest.raises(NotFound):
            await client.get(JOBS, name, namespace="default")
