"""The agent's start and end against an API server whose controllers are played by the test."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.apihandlers import Attributes
from tests.fakes.apiserver import ApiServer
from tests.fakes.objectstore import Collection, Key
from tests.unit.cluster.controllers import RUNNING, an_event, play_pod, set_status, the_job
from towline.cluster.agent import Agent
from towline.cluster.job import AgentSpec
from towline.cluster.sidecar import Sidecar
from towline.errors import AccessError, AgentError
from towline.kube.call import Patience
from towline.kube.client import Client
from towline.kube.errors import Forbidden, NotFound, ServerError
from towline.kube.resources import JOBS


async def test_start_returns_with_the_pod_when_it_runs() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        agent, said = Agent(client, "default", AgentSpec()), list[str]()
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.start(said.append, 10))
            job = await play_pod(server, client, RUNNING)
        assert agent.pod == f"{job['metadata']['name']}-pod"
        assert said[:2] == [
            "Waiting for the cluster to accept the agent's Job",
            "Waiting for the cluster to make the agent's pod",
        ]
        assert await agent.why_lost() is None


async def test_agent_with_a_sidecar_is_linked_to_before_it_is_waited_for() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        agent, said = Agent(client, "default", AgentSpec(sidecar=Sidecar())), list[str]()
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.start(said.append, 10))
            await play_pod(server, client, RUNNING)
        with pytest.raises(AgentError, match="waiting for the sidecar to be ready"):
            await agent.ready(said.append, 0.1)
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        await set_status(server, agent.pod, {**RUNNING, **ready})
        await agent.ready(said.append, 10)


async def test_settle_lifts_the_deadline() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        agent = Agent(client, "default", AgentSpec())
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.start(lambda _: None, 10))
            job = await play_pod(server, client, RUNNING)
        assert job["spec"]["activeDeadlineSeconds"] == AgentSpec().lease_seconds
        await agent.settle()
        assert "activeDeadlineSeconds" not in (await the_job(client))["spec"]


@pytest.mark.parametrize("verb", ["get", "patch"])
async def test_whether_the_job_is_still_there_is_seen_by_either_right(verb: str) -> None:
    """Whoever made it may patch it, whoever joins may get it."""
    allowed = True

    def allows(asked: Attributes) -> bool:
        return allowed or asked["resource"] != "jobs" or asked["verb"] == verb

    async with ApiServer(allows=allows) as server, Client(server.access()) as client:
        agent = Agent(client, "default", AgentSpec())
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.start(lambda _: None, 10))
            job = await play_pod(server, client, RUNNING)
        allowed = False
        await agent.rejoin(lambda _: None, 10)
        key = Key(Collection("apis/batch/v1", "jobs"), "default", job["metadata"]["name"])
        await server.store.delete(key, {})
        with pytest.raises(NotFound):
            await agent.rejoin(lambda _: None, 10)


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


async def test_pod_that_is_never_made_and_no_events_name_what_may_stand_against_it() -> None:
    server = ApiServer(allows=lambda what: what["resource"] != "events")
    async with server, Client(server.access()) as client:
        with pytest.raises(AgentError, match="cluster to make the agent's pod") as caught:
            await Agent(client, "default", AgentSpec()).start(lambda _: None, 0.1)
    assert "quota" in caught.value.hint
    assert "admission policy" in caught.value.hint


async def test_failure_while_the_pod_is_waited_for_has_its_own_type() -> None:
    async def fail(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=503) if request.path.endswith("/pods") else None

    async with ApiServer() as server, Client(server.access(), Patience(attempts=1)) as client:
        server.faults.append(fail)
        with pytest.raises(ServerError):
            await Agent(client, "default", AgentSpec()).start(lambda _: None, 10)


async def test_job_of_a_create_that_was_not_answered_is_asked_for_again() -> None:
    sent = asyncio.Event()

    async def hold(request: web.Request) -> web.StreamResponse | None:
        if request.method == "POST":
            body = await request.json()
            jobs.append(body)
            sent.set()
            await asyncio.Event().wait()
        return None

    jobs = list[dict[str, Any]]()
    async with ApiServer() as server, Client(server.access()) as client:
        server.faults.append(hold)
        agent = Agent(client, "default", AgentSpec())
        starting = asyncio.create_task(agent.start(lambda _: None, 10))
        await sent.wait()
        starting.cancel()
        assert await agent.stop() is False
        await server.add("apis/batch/v1", "jobs", jobs[0], namespace="default")
        assert await agent.stop() is True
        assert (await client.list(JOBS, namespace="default")).items == []


async def test_job_that_was_refused_is_not_asked_for() -> None:
    server = ApiServer(allows=lambda what: what["resource"] != "jobs")
    async with server, Client(server.access()) as client:
        agent = Agent(client, "default", AgentSpec())
        with pytest.raises(Forbidden):
            await agent.start(lambda _: None, 10)
        assert await agent.stop() is True
        assert [seen.method for seen in server.requests] == ["POST"]


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


async def test_what_pod_and_event_say_alike_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towline.cluster.agent.EXPLAIN_SECONDS", 0.01)
    why = "0/1 nodes are available: 1 node(s) were unschedulable."
    condition = {"type": "PodScheduled", "status": "False", "message": why}
    waiting = {"phase": "Pending", "conditions": [condition]}
    said = asyncio.Queue[str]()
    async with ApiServer() as server, Client(server.access()) as client:
        agent = Agent(client, "default", AgentSpec())
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.start(said.put_nowait, 10))
            job = await play_pod(server, client, waiting)
            pod = f"{job['metadata']['name']}-pod"
            event = an_event(job, "FailedScheduling", why)
            event["involvedObject"]["name"] = pod
            while not (last := await said.get()).endswith(why):
                pass
            await server.add("api/v1", "events", event, namespace="default")
            last = await said.get()
            await set_status(server, pod, RUNNING)
    assert last == f"Waiting for a node for the agent — {why}"
