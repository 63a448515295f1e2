"""Takes traffic in the pods themselves: an agent in an ephemeral container of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from towline.cluster import interception, podstate
from towline.cluster.ephemeral import EphemeralAgent
from towline.cluster.workload import selector_text
from towline.errors import AgentError, UsageError
from towline.features.downlink import ports
from towline.features.downlink.injected import Injected, Links
from towline.features.downlink.podset import PodSet, runs
from towline.features.downlink.ports import ServicePort
from towline.features.downlink.takeover import Wanted
from towline.features.local.delivery import Delivery
from towline.features.local.expose import Exposed
from towline.features.local.programs import Programs
from towline.features.local.proxyprotocol import prefaces
from towline.features.reference import Reference
from towline.features.rights import require
from towline.features.state import Narrator, SessionState
from towline.kube.access import Right
from towline.kube.client import Client
from towline.kube.config import Access
from towline.kube.resources import PODS, SERVICES, Object
from towline.kube.watch import watch
from towline.wire.target import Port, Target

NOTE = (
    "The agents' containers stay listed in the pods, as finished, until the pods are replaced: "
    "Kubernetes removes none."
)


@dataclass(frozen=True, slots=True)
class Meant:
    """Which pods are meant, by selectors of the API, and what ports a pod of them has."""

    labels: str
    fields: str
    ports_of: Callable[[Object], Sequence[ServicePort]]


def rights(target: Reference, namespace: str) -> list[Right]:
    """What it takes, besides a way for the link."""
    kind = target.resource
    return [
        Right("get", kind.group, kind.plural, namespace=namespace, name=target.name),
        *(Right(verb, "", "pods", namespace=namespace) for verb in ("get", "list", "watch")),
        Right("patch", "", "pods", "ephemeralcontainers", namespace=namespace),
    ]


class Injection:
    """Pods whose traffic comes here (:class:`towline.features.downlink.takeover.Way`)."""

    def __init__(self, access: Access, wanted: Wanted, tell: Narrator) -> None:
        self._access = access
        self._wanted = wanted
        self._tell = tell
        self._state = SessionState(wanted.command, access, tell, lambda: None, self._agents)
        self._links = Links(self._state)
        self._exposed: tuple[Exposed, ...] = ()
        self._pods: PodSet | None = None

    def status(self) -> dict[str, Any]:
        """How it is doing, fit for JSON."""
        return {
            **self._state.status(),
            "target": str(self._wanted.target),
            "mode": "ephemeral",
            "exposed": [each.status() for each in self._exposed],
        }

    def _agents(self) -> str:
        return ",".join(self._pods.live) if self._pods else ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Bring it up and take it down."""
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(self._access))
            self._tell.progress(f"Looking at {self._wanted.target}")
            meant = await self._find(client)
            running = await self._running(client, meant)
            self._exposed = ports.exposed(self._choose(meant, running[0]))
            programs = await self._wanted.programs(
                self._exposed, self._tell, self._wanted.otherwise
            )
            async with asyncio.TaskGroup() as checking:
                for pod in running:
                    checking.create_task(self._refuse_if_unfit(client, pod, meant))
            self._tell.event("note", NOTE)
            child = await stack.enter_async_context(self._wanted.child)
            if child:
                await child.outlive(programs.await_all(f"'{child}'"))
            group = await stack.enter_async_context(asyncio.TaskGroup())
            pods = self._pods = PodSet(
                group, self._maker(client, meant, programs), self._links, self._tell
            )
            stack.callback(pods.cancel)
            await child.outlive(pods.take(running))
            events = watch(
                client,
                PODS,
                namespace=self._access.namespace,
                labels=meant.labels,
                fields=meant.fields,
            )
            for work in (programs.watch(), pods.follow(events)):
                stack.callback(group.create_task(work).cancel)
            with self._state.lasting():
                yield

    async def ended(self) -> int:
        """Wait until it is over (:meth:`towline.features.downlink.takeover.Way.ended`)."""
        return await self._wanted.over(self._tell, self._gone())

    async def _gone(self) -> NoReturn:
        """Wait until no pod is left, and none will come."""
        assert self._pods
        if self._wanted.target.resource != PODS:
            await asyncio.get_running_loop().create_future()
        await self._pods.none_left()
        raise AgentError(f"{self._wanted.target} is gone.", "A workload's next pods would be held.")

    async def _find(self, client: Client) -> Meant:
        """What the target means. Raises UsageError, AccessError, ApiError."""
        target, namespace = self._wanted.target, self._access.namespace
        await require(client, namespace, rights(target, namespace))
        found = await client.get(target.resource, target.name, namespace=namespace)
        if target.resource == SERVICES:
            wanted = interception.selector(found)
            if not wanted:
                raise UsageError(f"{target} has no selector that would tell its pods.")
            return Meant(
                selector_text({"matchLabels": wanted}),
                "",
                lambda pod: ports.of_service(found, [pod]),
            )
        by_name = target.resource == PODS
        return Meant(
            "" if by_name else selector_text(found["spec"]["selector"]),
            f"metadata.name={target.name}" if by_name else "",
            lambda pod: ports.of_containers(pod["spec"], self._wanted.exposed),
        )

    async def _running(self, client: Client, meant: Meant) -> list[Object]:
        """The pods that run now. Raises UsageError when there is none."""
        listed = await client.list(
            PODS, namespace=self._access.namespace, labels=meant.labels, fields=meant.fields
        )
        found = [pod for pod in listed.items if runs(pod)]
        if not found:
            raise UsageError(
                f"{self._wanted.target} has no pod that runs.", "Start one, or scale it up, first."
            )
        return found

    async def _refuse_if_unfit(self, client: Client, pod: Object, meant: Meant) -> None:
        """Learn from the cluster whether it may be; another session's agent may give way."""
        agent = self._new_agent(client, pod, self._choose(meant, pod))
        await agent.check(force=self._wanted.force)

    def _choose(self, meant: Meant, pod: Object) -> dict[ServicePort, Target]:
        chosen = ports.choose(meant.ports_of(pod), self._wanted.exposed)
        if not chosen:
            raise UsageError(
                f"{self._wanted.target} does not say on which ports it listens.",
                "Name them, as in --expose 8080:80.",
            )
        return chosen

    def _new_agent(
        self, client: Client, pod: Object, chosen: dict[ServicePort, Target]
    ) -> EphemeralAgent:
        return EphemeralAgent(
            client,
            self._access.namespace,
            pod["metadata"]["name"],
            replace(self._wanted.agent, role=self._wanted.command),
            list(ports.by_listen(chosen)),
        )

    def _maker(
        self, client: Client, meant: Meant, programs: Programs
    ) -> Callable[[Object], Injected]:
        def make(pod: Object) -> Injected:
            chosen = self._choose(meant, pod)
            return Injected(
                pod["metadata"]["name"],
                lambda: self._new_agent(client, pod, chosen),
                lambda group: self._new_delivery(group, pod, chosen, programs),
                self._wanted,
                self._links,
                self._tell,
            )

        return make

    def _new_delivery(
        self,
        group: asyncio.TaskGroup,
        pod: Object,
        chosen: dict[ServicePort, Target],
        programs: Programs,
    ) -> Delivery:
        def servers(listen: Port) -> list[Target]:
            return [Target(address, listen.number) for address in podstate.addresses(pod)]

        return Delivery(
            ports.by_listen(chosen),
            group,
            copy=self._wanted.copy,
            preface=prefaces(servers) if self._wanted.proxy_protocol else None,
            on_unserved=lambda listen: programs.refused(*ports.known_as(chosen, listen)),
        )
