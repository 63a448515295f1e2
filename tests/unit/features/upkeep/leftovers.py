"""A service or a deployment that an agent of somebody has, as broken sessions leave them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.apiserver import ApiServer
from towline.agent.intercept import Intercepted
from towline.agent.undo import AGENT_LABEL, ANNOTATION, Record, apply
from towline.agent.undoing import Changed
from towline.cluster import restorer, service
from towline.cluster.job import OWNER, SINCE, AgentSpec, manifest
from towline.kube.client import Client, Propagation
from towline.kube.errors import NotFound
from towline.kube.resources import DEPLOYMENTS, JOBS, PODS, SERVICES, Object, Resource
from towline.wire.target import Port

OWNER_NAME = "alice@laptop"
SINCE_TIME = "2026-01-02T03:04:05+00:00"
SELECTOR = {"app": "web"}
AGENT = "towline-alice-1"
RUNNING = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "True"}],
    "containerStatuses": [{"state": {"running": {}}}],
}
PENDING = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {}}}]}


@dataclass
class Cluster:
    """A namespace with the service web, and what is left in it. `logs` are those of pods."""

    server: ApiServer
    client: Client
    logs: dict[str, str] = field(default_factory=dict)

    async def service(self, name: str = "web", **spec: Any) -> None:
        spec = {"selector": SELECTOR, "ports": [{"port": 80}], **spec}
        await self.make(SERVICES, {"metadata": {"name": name}, "spec": spec})

    async def agent(
        self,
        name: str = AGENT,
        *,
        changed: Changed | None = None,
        log: str = "",
        status: Object = RUNNING,
        settled: bool = True,
        role: str = "exchange",
        **extra: Any,
    ) -> Object:
        """An agent's Job, pod, and what goes with it."""
        spec = AgentSpec(
            name=name,
            owner=OWNER_NAME,
            role=role,
            intercepted=(Intercepted(Port(80)),),
            changed=changed,
        )
        body = manifest(spec)
        body["metadata"]["annotations"][SINCE] = SINCE_TIME
        if settled:
            del body["spec"]["activeDeadlineSeconds"]
        body["spec"] |= extra
        job = await self.make(JOBS, body)
        reference = {"kind": "Job", "name": name, "uid": job["metadata"]["uid"]}
        template = body["spec"]["template"]
        about = {**template["metadata"], "name": f"{name}-x", "ownerReferences": [reference]}
        await self.make(PODS, {**template, "metadata": about, "status": status})
        self.logs[f"{name}-x"] = log
        for resource, companion in self._companions(name):
            about = {**companion["metadata"], "ownerReferences": [reference]}
            await self.make(resource, {**companion, "metadata": about})
        return job

    async def intercepted(self, log: str = "", **agent: Any) -> Record:
        """The service web, whose traffic an agent has."""
        await self.service()
        return await self.intercept(SERVICES, log=log, **agent)

    async def intercept(
        self, resource: Resource, log: str = "", name: str = "web", **agent: Any
    ) -> Record:
        what: dict[str, Any] = {"selector": SELECTOR} if resource == SERVICES else {"replicas": 3}
        record = Record(agent.get("name_of_agent", AGENT), OWNER_NAME, SINCE_TIME, **what)
        agent.pop("name_of_agent", None)
        path = resource.path("default", name)
        await self.agent(record.job, changed=Changed(path, record), log=log, **agent)
        thing = await self.get(resource, name)
        await self.client.patch(resource, name, apply(thing, record), namespace="default")
        return record

    async def deployment(self) -> None:
        await self.make(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": {"replicas": 3}})

    async def preview(self, agent: str = AGENT, **metadata: Any) -> None:
        body = service.manifest("mine", AgentSpec(name=agent, role="preview"), (), external=False)
        body["metadata"]["annotations"] = {OWNER: OWNER_NAME, SINCE: SINCE_TIME}
        del body["metadata"]["ownerReferences"]
        body["metadata"] |= metadata
        await self.make(SERVICES, body)

    async def make(self, resource: Resource, body: Object) -> Object:
        return await self.client.create(resource, body, namespace="default")

    async def get(self, resource: Resource, name: str) -> Object:
        return await self.client.get(resource, name, namespace="default")

    async def is_there(self, resource: Resource, name: str) -> bool:
        try:
            await self.get(resource, name)
        except NotFound:
            return False
        return True

    async def delete_job(self, propagation: Propagation, name: str = AGENT) -> None:
        await self.client.delete(JOBS, name, namespace="default", propagation=propagation)

    async def remove_record(self, resource: Resource = SERVICES) -> None:
        change = {"metadata": {"annotations": {ANNOTATION: None}}}
        await self.client.patch(resource, "web", change, namespace="default")

    async def selector(self, name: str = "web") -> Object:
        selector: Object = (await self.get(SERVICES, name))["spec"]["selector"]
        return selector

    async def is_as_it_was(self) -> bool:
        web = await self.get(SERVICES, "web")
        annotations = web["metadata"].get("annotations") or {}
        return web["spec"]["selector"] == SELECTOR and ANNOTATION not in annotations

    @property
    def writes(self) -> list[str]:
        """The methods of the requests that would change something, reviews of rights aside."""
        return [
            seen.method
            for seen in self.server.requests
            if seen.method != "GET" and "accessreviews" not in seen.path
        ]

    def seen_from_here(self) -> None:
        """Forget the requests so far."""
        self.server.requests.clear()

    async def log(self, request: web.Request) -> web.Response:
        return web.Response(text=self.logs[request.match_info["name"]])

    def _companions(self, name: str) -> list[tuple[Resource, Object]]:
        original = {"spec": {"ports": [{"port": 80}]}}
        return [
            (SERVICES, service.twin(original, SELECTOR, name)),
            *restorer.companions(name, "default", SERVICES, "web"),
        ]


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    async with ApiServer() as server, Client(server.access()) as client:
        made = Cluster(server, client)
        server.handlers["pods", "log"] = made.log
        yield made


def intercepting(agent: str = AGENT) -> Object:
    """The selector of a service whose traffic an agent has."""
    return {AGENT_LABEL: agent}
