"""The keeper against an API server whose controllers are played by the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.apiserver import ApiServer
from tests.fakes.objectstore import Collection, Key
from tests.unit.cluster.controllers import RUNNING, play_pod, set_status
from towline.cluster import keeper as keeper_module
from towline.cluster.job import AgentSpec
from towline.cluster.keeper import AgentKeeper, first_answer
from towline.errors import AgentError, TowlineError
from towline.kube.call import Patience
from towline.kube.client import Client
from towline.kube.errors import NotFound
from towline.kube.resources import JOBS
from towline.relay.peer import LinkLost

ENDED = {"phase": "Failed", "reason": "Evicted", "message": "the node is full"}
NODE_LOST = {**RUNNING, "conditions": [{"type": "Ready", "status": "False"}]}


@asynccontextmanager
async def kept() -> AsyncIterator[tuple[ApiServer, Client, AgentKeeper]]:
    """A keeper whose first agent runs; port-forwards to it fail with 502."""
    async with ApiServer() as server, Client(server.access(), Patience(attempts=1)) as client:
        server.handlers["pods", "portforward"] = _bad_gateway
        async with AgentKeeper(client, "default", AgentSpec(), lambda _: None, 10) as keeper:
            async with asyncio.TaskGroup() as group:
                group.create_task(keeper.start())
                await play_pod(server, client, RUNNING)
            yield server, client, keeper


async def _bad_gateway(_: web.Request) -> web.StreamResponse:
    return web.Response(status=502, text="error dialing backend")


async def reconnect(
    server: ApiServer, client: Client, keeper: AgentKeeper, status: dict[str, Any] | None
) -> str:
    """One try, for which a new Job gets its pod if `status` is given; the error's name."""
    connecting = asyncio.create_task(keeper.connect(asyncio.Protocol))
    if status is not None:
        await play_pod(server, client, status)
    try:
        await connecting
    except (TowlineError, LinkLost) as error:
        return type(error).__name__
    raise AssertionError("nothing forwards ports here")


async def jobs(client: Client) -> list[dict[str, Any]]:
    return (await client.list(JOBS, namespace="default")).items


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


async def test_agent_is_not_replaced_because_the_api_server_fails() -> None:
    async with kept() as (server, client, keeper):
        pod = keeper.pod
        for _ in range(3):
            assert await reconnect(server, client, keeper, None) == "ServerError"
        assert keeper.pod == pod
        assert len(await jobs(client)) == 1


async def test_agent_on_a_dead_node_is_replaced() -> None:
    async with kept() as (server, client, keeper):
        pod = keeper.pod
        assert await reconnect(server, client, keeper, None) == "ServerError"
        await set_status(server, pod, NODE_LOST)
        assert await reconnect(server, client, keeper, RUNNING) == "ServerError"
        assert keeper.pod not in ("", pod)
        assert len(await jobs(client)) == 1


async def test_replacement_that_is_evicted_is_itself_replaced() -> None:
    async with kept() as (server, client, keeper):
        await set_status(server, keeper.pod, ENDED)
        keeper.doubt()
        assert await reconnect(server, client, keeper, ENDED) == "AgentError"
        evicted = keeper.pod
        assert await reconnect(server, client, keeper, RUNNING) == "ServerError"
        assert keeper.pod != evicted
        assert len(await jobs(client)) == 1


async def test_lost_agent_that_cannot_be_deleted_hinders_nothing_and_is_deleted_at_the_end() -> (
    None
):
    async def refuse(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=500) if request.method == "DELETE" else None

    async with ApiServer() as server, Client(server.access(), Patience(attempts=1)) as client:
        async with AgentKeeper(client, "default", AgentSpec(), lambda _: None, 10) as keeper:
            async with asyncio.TaskGroup() as group:
                group.create_task(keeper.start())
                await play_pod(server, client, RUNNING)
            await set_status(server, keeper.pod, NODE_LOST)
            keeper.doubt()
            server.faults.append(refuse)
            await reconnect(server, client, keeper, RUNNING)
            bounded = {
                job["metadata"]["name"]: "activeDeadlineSeconds" in job["spec"]
                for job in await jobs(client)
            }
            assert len(bounded) == 2
            assert not bounded[keeper.pod.removesuffix("-pod")]
            server.faults.clear()
        assert await jobs(client) == []


async def test_job_that_appears_only_after_the_end_is_deleted() -> None:
    sent = asyncio.Event()
    bodies, deletes = list[dict[str, Any]](), list[str]()
    async with ApiServer() as server, Client(server.access()) as client:

        async def slow_create(request: web.Request) -> web.StreamResponse | None:
            if request.method == "POST":
                bodies.append(await request.json())
                sent.set()
                await asyncio.Event().wait()
            if request.method == "DELETE":
                deletes.append(request.path)
                if len(deletes) == 2:
                    await server.add("apis/batch/v1", "jobs", bodies[0], namespace="default")
            return None

        server.faults.append(slow_create)
        async with AgentKeeper(client, "default", AgentSpec(), lambda _: None, 10) as keeper:
            starting = asyncio.create_task(keeper.start())
            await sent.wait()
            starting.cancel()
        assert len(deletes) == 2
        assert await jobs(client) == []


@pytest.mark.parametrize("may_exec", [True, False])
async def test_link_goes_by_exec_where_ports_may_not_be_forwarded(may_exec: bool) -> None:
    async with kept() as (server, client, keeper):
        asked = list[str]()

        async def by_exec(request: web.Request) -> web.StreamResponse:
            asked.append(request.query["container"])
            return await _bad_gateway(request)

        server.handlers["pods", "exec"] = by_exec
        refused = {"portforward"} if may_exec else {"portforward", "exec"}
        server.allows = lambda what: what["subresource"] not in refused
        name = await reconnect(server, client, keeper, None)
        assert (name, asked) == (("ServerError", ["agent"]) if may_exec else ("Forbidden", []))


KILLED = {
    "phase": "Failed",
    "containerStatuses": [
        {"image": "i", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
    ],
}


async def test_agent_that_was_killed_for_its_memory_is_told_and_in_the_end_not_replaced() -> None:
    async with kept() as (server, client, keeper):
        killed = list[TowlineError]()
        keeper._on_killed = killed.append
        for number in range(1, keeper_module.MOST_KILLS):
            await set_status(server, keeper.pod, KILLED)
            keeper.doubt()
            assert await reconnect(server, client, keeper, RUNNING) == "ServerError"
            assert len(killed) == number
        assert "--memory" in killed[0].hint
        await set_status(server, keeper.pod, KILLED)
        keeper.doubt()
        assert await reconnect(server, client, keeper, None) == "HopelessError"


async def test_why_an_agent_was_lost_is_known_although_its_pod_is_removed_at_once() -> None:
    async with kept() as (server, client, keeper):
        told = asyncio.Queue[TowlineError]()
        keeper._on_killed = told.put_nowait
        lost = keeper.pod
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(keeper.watch_over())
            keeper.doubt()
            while keeper._witness._end is None:
                await asyncio.sleep(0.005)
            await set_status(server, lost, KILLED)
            await server.store.delete(Key(Collection("api/v1", "pods"), "default", lost), {})
            await server.store.delete(
                Key(Collection("apis/batch/v1", "jobs"), "default", lost.removesuffix("-pod")), {}
            )
            assert await reconnect(server, client, keeper, RUNNING) == "ServerError"
            assert "OOMKilled" in told.get_nowait().summary
            watching.cancel()


async def test_end_of_a_pod_that_is_seen_late_is_acted_upon_without_another_failure() -> None:
    """A node tells of it a second after the link has gone, and till then the pod seems to run."""
    async with kept() as (server, client, keeper):
        lost = keeper.pod
        server.handlers["pods", "portforward"] = _nothing_said
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(keeper.watch_over())
            keeper.doubt()
            first, _ = await keeper.connect(asyncio.Protocol)
            await set_status(server, lost, ENDED)
            while not keeper._witness.saw_end_of(lost):
                await asyncio.sleep(0.005)
            connecting = group.create_task(keeper.connect(asyncio.Protocol))
            await play_pod(server, client, RUNNING)
            second, _ = await connecting
            assert keeper.pod != lost
            watching.cancel()
        first.abort()
        second.abort()


async def _nothing_said(request: web.Request) -> web.StreamResponse:
    response = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
    await response.prepare(request)
    await response.receive()
    return response


async def test_question_that_is_not_answered_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "ASK_AGAIN_SECONDS", 0.001)
    asked = ended = 0

    async def ask() -> int:
        nonlocal asked, ended
        asked += 1
        number = asked
        try:
            if number < 10:
                await asyncio.Event().wait()
        finally:
            ended += 1
        assert asked - ended < keeper_module.MOST_QUESTIONS
        return number

    assert await first_answer(ask) == 10
    assert ended == 10


async def test_question_that_is_answered_with_an_error_is_not_asked_anew() -> None:
    async def ask() -> None:
        raise AgentError("no")

    with pytest.raises(AgentError, match="no"):
        await first_answer(ask)
