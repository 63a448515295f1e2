"""An agent in somebody else's pod, against an API server whose kubelet is played by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.apiserver import ApiServer
from tests.fakes.kubelet import Channel, PortForward
from tests.fakes.objectstore import Collection, Key
from towline.cluster.ephemeral import LINK_PORTS, EphemeralAgent
from towline.cluster.job import AgentSpec
from towline.cluster.tenants import Tenant, tenants
from towline.errors import AccessError, AgentError, SessionError, UsageError
from towline.kube.client import Client
from towline.kube.errors import Conflict, Forbidden
from towline.wire.target import Port, Protocol

PODS = Collection("api/v1", "pods")
WEB = Key(PODS, "default", "web")
SPEC = AgentSpec(image="python:3", owner="jane@laptop", grace_seconds=7)
HTTP, UDP = Port(8080), Port(53, Protocol.UDP)
PROBED = {
    "name": "web",
    "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 61000}],
    "readinessProbe": {"httpGet": {"port": "http"}},
    "livenessProbe": {"tcpSocket": {"port": 9090}},
}
STATUS = {
    "phase": "Running",
    "hostIP": "10.0.0.1",
    "hostIPs": [{"ip": "10.0.0.1"}, {"ip": "fd::1"}],
}


class Cluster:
    """A server with one pod, and what its kubelet says of it."""

    def __init__(self, server: ApiServer, client: Client) -> None:
        self.server = server
        self.client = client

    def agent(self, *ports: Port, spec: AgentSpec = SPEC) -> EphemeralAgent:
        return EphemeralAgent(self.client, "default", "web", spec, ports or (HTTP, UDP))

    @property
    def pod(self) -> dict[str, Any]:
        return self.server.store.get(WEB)

    @property
    def added(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.pod["spec"].get("ephemeralContainers", [])
        return found

    async def change(self, **fields: Any) -> None:
        await self.server.store.update(WEB, {**self.pod, **fields})

    async def says(self, agent: EphemeralAgent, **state: Any) -> None:
        """What the kubelet says of the agent's container, as soon as there is one."""
        while agent.container not in [each["name"] for each in self.added]:
            await asyncio.sleep(0.005)
        status = {"name": agent.container, "image": "python:3", "state": state}
        others = [
            each
            for each in self.pod["status"].get("ephemeralContainerStatuses", [])
            if each["name"] != agent.container
        ]
        await self.change(
            status={**self.pod["status"], "ephemeralContainerStatuses": [*others, status]}
        )

    async def started(self, *ports: Port, spec: AgentSpec = SPEC) -> EphemeralAgent:
        agent = self.agent(*ports, spec=spec)
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.start(lambda _: None, 20))
            await self.says(agent, running={})
        return agent


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with ApiServer() as server, Client(server.access()) as client:
        spec = {"containers": [PROBED]}
        pod = {"metadata": {"name": "web"}, "spec": spec, "status": STATUS}
        await server.add("api/v1", "pods", pod, namespace="default")
        yield Cluster(server, client)


def option(container: dict[str, Any], name: str) -> list[str]:
    pairs = [argument.partition("=") for argument in container["args"]]
    return [value for key, _, value in pairs if key == f"--{name}"]


# -- what it adds


async def test_container_may_change_the_pods_network_and_nothing_else(cluster: Cluster) -> None:
    agent = await cluster.started()
    (container,) = cluster.added
    security = container["securityContext"]
    assert container["name"] == agent.container
    assert container["image"] == "python:3"
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    assert (security["runAsUser"], security["runAsNonRoot"]) == (0, False)
    assert security["allowPrivilegeEscalation"] is False
    assert "resources" not in container  # not allowed there
    assert "ports" not in container


async def test_container_is_told_of_ports_node_and_probes(cluster: Cluster) -> None:
    await cluster.started(HTTP, UDP, Port(9090), Port(9091))
    (container,) = cluster.added
    assert "--redirect" in container["args"]
    assert option(container, "grace-seconds") == ["7"]
    assert option(container, "node") == ["10.0.0.1", "fd::1"]
    assert option(container, "probed") == ["8080=http", "9090=other"]
    assert option(container, "intercept") == [
        "8080/TCP=:8080",
        "53/UDP=:53",
        "9090/TCP=:9090",
        "9091/TCP=:9091",
    ]


async def test_container_beside_a_sidecar_is_told_of_that(cluster: Cluster) -> None:
    await cluster.started()
    assert option(cluster.added[0], "behind") == []
    injected = {**cluster.pod["spec"], "initContainers": [{"name": "istio-proxy"}]}
    await cluster.change(spec={**injected, "ephemeralContainers": []})
    await cluster.started()
    assert option(cluster.added[0], "behind") == ["127.0.0.6", "::6"]


async def test_old_cluster_tells_one_address_of_the_node(cluster: Cluster) -> None:
    await cluster.change(status={"phase": "Running", "hostIP": "10.0.0.1"})
    await cluster.started()
    assert option(cluster.added[0], "node") == ["10.0.0.1"]


async def test_link_port_is_none_that_the_pod_has(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline.cluster.ephemeral.LINK_PORTS", LINK_PORTS[:3])
    first = await cluster.started(HTTP)
    second = await cluster.started(UDP)
    assert first.container != second.container
    found = {option(container, "port")[0] for container in cluster.added}
    assert found == {"61001", "61002"}  # 61000 is the program's


# -- how it starts


async def test_start_says_what_it_waits_for_and_returns_when_it_runs(cluster: Cluster) -> None:
    agent, said = cluster.agent(), list[str]()
    async with asyncio.TaskGroup() as group:
        group.create_task(agent.start(said.append, 20))
        await cluster.says(agent, waiting={"reason": "ContainerCreating"})
        await asyncio.sleep(0.05)
        await cluster.says(agent, running={})
    assert said[0] == "Waiting for the cluster to add a container to the pod web"
    assert said[-1] == "Waiting for the node to start the image python:3"
    assert await agent.failure() is None


async def test_image_that_cannot_be_pulled_is_an_error(cluster: Cluster) -> None:
    agent = cluster.agent()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.start(lambda _: None, 20))
            await cluster.says(agent, waiting={"reason": "ImagePullBackOff", "message": "no such"})
    assert caught.group_contains(AgentError, match="python:3 cannot be pulled: no such")


async def test_agent_that_ends_at_once_is_an_error_in_its_own_words(cluster: Cluster) -> None:
    agent = cluster.agent()
    terminated = {"exitCode": 1, "reason": "Error", "message": "the redirect needs nf_tables\n"}
    with pytest.raises(BaseExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.start(lambda _: None, 20))
            await cluster.says(agent, terminated=terminated)
    assert caught.group_contains(
        AgentError, match=r"agent in the pod web has ended: the redirect needs nf_tables$"
    )


async def test_container_that_does_not_start_in_time_is_an_error(cluster: Cluster) -> None:
    with pytest.raises(AgentError, match=r"not started within 0 s; .* add a container to the pod"):
        await cluster.agent().start(lambda _: None, 0.3)


async def test_pod_that_ends_meanwhile_is_an_error(cluster: Cluster) -> None:
    agent = cluster.agent()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.start(lambda _: None, 20))
            await cluster.says(agent, waiting={})
            await cluster.server.store.delete(WEB, {})
    assert caught.group_contains(AgentError, match="The pod web is gone")


async def test_change_by_others_in_between_is_no_matter(cluster: Cluster) -> None:
    async def touch(request: web.Request) -> web.StreamResponse | None:
        if request.method == "PATCH" and not touched:
            touched.append(request)
            await cluster.change(status={**cluster.pod["status"], "reason": "touched"})
        return None

    touched = list[web.Request]()
    cluster.server.faults.append(touch)
    await cluster.started()
    assert touched
    assert len(cluster.added) == 1


async def test_container_that_was_added_without_an_answer_is_not_added_again(
    cluster: Cluster,
) -> None:
    cut = list[str]()

    async def cut_the_answer(request: web.Request) -> web.StreamResponse | None:
        if request.method == "PATCH" and not cut:
            cut.append(request.path)
            body = await request.json()
            added = body["spec"]["ephemeralContainers"]
            await cluster.change(spec={**cluster.pod["spec"], "ephemeralContainers": added})
            return web.Response(status=409, text="conflict")
        return None

    cluster.server.faults.append(cut_the_answer)
    await cluster.started()
    assert cut == ["/api/v1/namespaces/default/pods/web/ephemeralcontainers"]
    assert len(cluster.added) == 1


async def test_pod_that_never_stays_the_same_is_given_up(cluster: Cluster) -> None:
    async def conflict(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=409, text="no") if request.method == "PATCH" else None

    cluster.server.faults.append(conflict)
    with pytest.raises(Conflict):
        await cluster.agent().start(lambda _: None, 20)


# -- where it does not


async def test_check_changes_nothing(cluster: Cluster) -> None:
    before = cluster.pod
    await cluster.agent().check(force=False)
    assert cluster.pod == before
    seen = cluster.server.requests[-1]
    assert (seen.method, seen.query) == ("PATCH", {"dryRun": "All"})


@pytest.mark.parametrize(
    "message",
    [
        'pods "web" is forbidden: violates PodSecurity "restricted:latest": unrestricted',
        'admission webhook "policy.example" denied the request: no root',
    ],
)
async def test_policy_against_the_capability_offers_the_other_modes(
    cluster: Cluster, message: str
) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse | None:
        status = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": message}
        return web.json_response(status, status=403) if request.method == "PATCH" else None

    cluster.server.faults.append(refuse)
    with pytest.raises(AccessError, match="NET_ADMIN") as caught:
        await cluster.agent().check(force=False)
    assert "--mode selector" in caught.value.hint
    assert "--mode scale" in caught.value.hint


async def test_missing_right_is_named(cluster: Cluster) -> None:
    cluster.server.allows = lambda what: what["verb"] != "patch"
    with pytest.raises(Forbidden, match="patch pods/ephemeralcontainers"):
        await cluster.agent().check(force=False)


async def test_pod_in_the_nodes_network_is_refused(cluster: Cluster) -> None:
    await cluster.change(spec={"hostNetwork": True, **cluster.pod["spec"]})
    with pytest.raises(UsageError, match="would act on the whole node"):
        await cluster.agent().start(lambda _: None, 20)
    assert not cluster.added


async def test_pod_that_is_over_is_refused(cluster: Cluster) -> None:
    await cluster.change(status={"phase": "Succeeded"})
    with pytest.raises(AgentError, match="The pod web is ending"):
        await cluster.agent().check(force=False)


# -- two users


async def test_second_session_of_a_port_is_refused_with_the_name_of_the_first(
    cluster: Cluster,
) -> None:
    await cluster.started(HTTP, UDP)
    with pytest.raises(SessionError, match=r"8080/TCP of the pod web .* by jane@laptop, since 20"):
        await cluster.agent(HTTP, spec=AgentSpec(owner="joe@desk")).check(force=False)


async def test_sessions_of_different_ports_go_together(cluster: Cluster) -> None:
    await cluster.started(HTTP)
    await cluster.started(Port(53))  # another protocol's than below
    await cluster.started(UDP)
    assert len(cluster.added) == 3


async def test_agent_that_has_ended_stands_in_nobodys_way(cluster: Cluster) -> None:
    first = await cluster.started()
    await cluster.says(first, terminated={"exitCode": 0, "reason": "Completed"})
    second = await cluster.started()
    assert await second.tenants() == []
    failure = await first.failure()
    assert isinstance(failure, SessionError)
    assert failure.summary == "jane@laptop has taken over 8080/TCP, 53/UDP of the pod web."


@pytest.mark.parametrize(("owner", "is_refused"), [(SPEC.owner, False), ("joe@desk", True)])
async def test_agent_that_drains_stands_in_the_way_of_others_only(
    cluster: Cluster, owner: str, is_refused: bool
) -> None:
    """Its container runs, but nothing listens for a session any more."""
    PortForward(cluster.server)
    await cluster.started()
    again = cluster.agent(spec=AgentSpec(owner=owner))
    if is_refused:
        with pytest.raises(SessionError, match="intercepted by jane@laptop"):
            await again.check(force=False)
    else:
        await again.check(force=False)


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "CreateContainerError"])
async def test_agent_that_cannot_start_stands_in_nobodys_way(cluster: Cluster, reason: str) -> None:
    async with asyncio.TaskGroup() as group:
        first = cluster.agent()
        group.create_task(_fail_to_start(first))
        await cluster.says(first, waiting={"reason": reason, "message": "no such image"})
    second = await cluster.started()
    assert await second.tenants() == []


async def _fail_to_start(agent: EphemeralAgent) -> None:
    with pytest.raises(AgentError):
        await agent.start(lambda _: None, 1)


async def test_tenant_that_does_not_listen_needs_no_goodbye(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its container is said to run, but nothing listens in there."""
    monkeypatch.setattr("towline.cluster.ephemeral.GOODBYE_TRIES", 2)
    monkeypatch.setattr("towline.cluster.ephemeral.GOODBYE_RETRY_SECONDS", 0)
    forwards = PortForward(cluster.server)
    await cluster.started()
    second = cluster.agent()
    (tenant,) = await second.tenants()
    await second.dismiss(tenant)
    assert forwards.served == 2
    assert await second.tenants() == []


async def test_agent_that_is_not_wanted_after_all_is_told_so_when_it_runs(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline.cluster.ephemeral.GOODBYE_RETRY_SECONDS", 0)
    forwards = PortForward(cluster.server)

    async def end(_: Channel) -> None:
        await cluster.says(agent, terminated={"exitCode": 0})

    agent = await cluster.started()
    stopping = asyncio.ensure_future(agent.stop())
    while not forwards.served:
        await asyncio.sleep(0.005)
    forwards.listen(int(option(cluster.added[0], "port")[0]), end)
    await stopping
    assert tenants(cluster.pod) == []


async def test_agent_that_was_never_added_needs_no_goodbye(cluster: Cluster) -> None:
    await cluster.agent().stop()
    assert not cluster.added


async def test_tenants_are_told_with_owner_time_and_ports(cluster: Cluster) -> None:
    first = await cluster.started(spec=replace(SPEC, role="mirror"))
    (container,) = cluster.added
    (tenant,) = await cluster.agent(UDP).tenants()
    since = container["env"][1]["value"]
    port = int(option(container, "port")[0])
    assert tenant == Tenant(
        first.container, "jane@laptop", since, "mirror", (HTTP, UDP), port, True
    )


def test_containers_of_others_are_no_tenants() -> None:
    debugging = {"name": "debugger-x", "image": "busybox"}
    alike = {"name": "towline-x", "image": "busybox", "args": ["--port=1"]}
    spec = {"containers": [], "ephemeralContainers": [debugging, alike]}
    assert tenants({"metadata": {"name": "p"}, "spec": spec}) == []


async def test_failure_says_that_the_pod_is_gone(cluster: Cluster) -> None:
    agent = await cluster.started()
    await cluster.server.store.delete(WEB, {})
    failure = await agent.failure()
    assert isinstance(failure, AgentError)
    assert failure.summary == "The pod web is gone."
