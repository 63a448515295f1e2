"""A new service of the cluster for a port of this machine, for as long as the session lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from towline.agent.intercept import Intercepted
from towline.cluster import service
from towline.cluster.job import AgentSpec
from towline.cluster.keeper import AgentKeeper
from towline.errors import AgentError
from towline.features.first import first
from towline.features.local import proxyprotocol
from towline.features.local.delivery import Delivery
from towline.features.local.expose import Exposed
from towline.features.local.programs import Programs
from towline.features.rights import agent_rights, require
from towline.features.state import Narrator, SessionState, note
from towline.kube.access import Right
from towline.kube.client import Client
from towline.kube.config import Access
from towline.link.link import Link
from towline.wire.target import Port, Protocol, Target

_UNSERVED = {Protocol.TCP: "connections are reset", Protocol.UDP: "datagrams are lost"}


@dataclass(frozen=True, slots=True)
class PreviewOptions:
    """What the user chose."""

    name: str
    exposed: tuple[Exposed, ...]
    external: bool
    proxy_protocol: bool
    agent: AgentSpec
    timeout_seconds: float


def rights(namespace: str) -> list[Right]:
    """What it takes, besides a way for the link."""
    make, ask = (Right(verb, "", "services", namespace=namespace) for verb in ("create", "get"))
    return [*agent_rights(namespace), make, ask]


class Preview:
    """One preview: :meth:`open` brings it up and takes it down."""

    def __init__(self, access: Access, options: PreviewOptions, tell: Narrator) -> None:
        self._access = access
        self._options = options
        intercepted = tuple(Intercepted(each.remote) for each in options.exposed)
        self._spec = replace(options.agent, role="preview", intercepted=intercepted)
        self._tell = tell
        self._keeper: AgentKeeper | None = None
        self._state = SessionState("preview", access, tell, self._doubt, self._pod)
        protocols = {each.remote.protocol for each in options.exposed}
        fates = " and ".join(_UNSERVED[each] for each in sorted(protocols))
        self._programs = Programs(options.exposed, tell, fates)
        self._service: dict[str, Any] = {}

    def status(self) -> dict[str, Any]:
        """How it is doing, fit for JSON."""
        return {
            **self._state.status(),
            "service": self._options.name,
            "addresses": self._addresses,
            "exposed": [each.status() for each in self._options.exposed],
        }

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Inside, the service is there and leads here; afterwards nothing is left.

        Raises TowlineError, possibly in an exception group, for whatever stands in the way.
        """
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(self._access))
            await self._refuse_if_unfit(client)
            keeper = self._keeper = await stack.enter_async_context(self._new_keeper(client))
            await keeper.start()
            group = await stack.enter_async_context(asyncio.TaskGroup())
            await self._deliver(stack, group, keeper)
            body = self._manifest(keeper.owner_reference)
            self._service = await service.create(client, self._access.namespace, body)
            if self._options.external:
                self._tell.event("note", self._outside())
            watching = group.create_task(self._programs.watch(), name="programs")
            stack.callback(watching.cancel)
            with self._state.lasting():
                yield

    async def ended(self) -> None:
        """Wait until it cannot go on; raises AgentError with the reason."""
        assert self._keeper
        await first(self._keeper.gone.wait(), self._keeper.watch_over())
        raise AgentError(
            f"The agent's Job was deleted, and the service {self._options.name} with it.",
            "Start the preview again.",
        )

    def _new_keeper(self, client: Client) -> AgentKeeper:
        return AgentKeeper(
            client,
            self._access.namespace,
            self._spec,
            self._state.progress,
            self._options.timeout_seconds,
            partial(note, self._tell),
        )

    async def _deliver(
        self, stack: AsyncExitStack, group: asyncio.TaskGroup, keeper: AgentKeeper
    ) -> None:
        """Link to the agent, and have all that comes to its ports brought here."""
        programs = {each.remote: each.local for each in self._options.exposed}
        preface = proxyprotocol.prefaces(self._servers)
        delivery = Delivery(
            programs,
            group,
            preface=preface if self._options.proxy_protocol else None,
            on_unserved=self._programs.refused,
        )
        link = await stack.enter_async_context(
            Link(
                keeper.connect, self._state, on_transport=delivery.claim, on_opened=delivery.opened
            )
        )
        self._tell.progress("Waiting for the agent to answer")
        await link.first(self._options.timeout_seconds)
        await delivery.claimed()
        # With the Job's deadline the service would end, too.
        await keeper.settle()

    def _servers(self, port: Port) -> list[Target]:
        """What clients of a port connect to."""
        return [Target(address, port.number) for address in self._addresses]

    def _outside(self) -> str:
        """How clients outside the cluster reach it."""
        ports = ", ".join(
            f"{each['port']}/{each['protocol']} is {each['nodePort']}"
            for each in self._service["spec"]["ports"]
            if "nodePort" in each
        )
        name, namespace = self._options.name, self._access.namespace
        nodes = f"at the nodes' addresses {ports}; " if ports else ""
        return (
            f"From outside the cluster: {nodes}at an address of its own when a load balancer gives "
            f"it one, which 'kubectl get service {name} -n {namespace}' shows."
        )

    @property
    def _addresses(self) -> list[str]:
        return service.addresses(self._service) if self._service else []

    def _pod(self) -> str:
        return self._keeper.pod if self._keeper else ""

    def _doubt(self) -> None:
        if self._keeper:
            self._keeper.doubt()

    async def _refuse_if_unfit(self, client: Client) -> None:
        """Learn whether the service could be made, before anything is."""
        namespace = self._access.namespace
        self._tell.progress(f"Looking for room for the service {self._options.name}")
        await require(client, namespace, rights(namespace))
        await service.create(client, namespace, self._manifest(), dry_run=True)

    def _manifest(self, *owner: dict[str, Any]) -> dict[str, Any]:
        return service.manifest(
            self._options.name, self._spec, owner, external=self._options.external
        )
