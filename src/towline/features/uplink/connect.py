"""The uplink: every service of the cluster by its name from this machine, while it lasts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, NamedTuple

from towline.agent.undo import AGENT_LABEL
from towline.cluster import ranges, sidecar
from towline.cluster.guest import Host
from towline.cluster.job import AgentSpec
from towline.cluster.ranges import Address, Network
from towline.dns.policy import ClusterNames
from towline.errors import RedirectError, TowlineError
from towline.features import findings
from towline.features.findings import Finding
from towline.features.state import Narrator
from towline.features.uplink.agentlink import AgentLink
from towline.features.uplink.dialer import Dialer
from towline.features.uplink.explain import Explainer
from towline.features.uplink.flows import Flows
from towline.features.uplink.leads import Leads, addresses_of, hosts_of, leadable
from towline.features.uplink.nameoptions import NameOptions
from towline.features.uplink.names import Names, Nameservers
from towline.kube.client import Client
from towline.kube.config import Access
from towline.link.link import Link
from towline.redirect import conflicts
from towline.redirect.conflicts import Route
from towline.redirect.control import Redirect
from towline.redirect.intercept import Intercept
from towline.wire.dns import Name


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """What the user chose. `helper` is the socket of a root helper, if one was started already."""

    agent: AgentSpec | Host
    timeout_seconds: float
    names: NameOptions = field(default_factory=NameOptions)
    helper: socket.socket | None = None


class _Found(NamedTuple):
    """What is known at the start: the cluster's ranges, where the link goes, our own routes, and
    whether pods have sidecars that the agent has not.
    """

    ranges: list[Network]
    own: list[Address]
    routes: list[Route]
    outside_of_mesh: bool


class Connection:
    """One uplink: :meth:`open` brings it up and takes it down."""

    def __init__(self, access: Access, options: ConnectOptions, tell: Narrator) -> None:
        self._access = access
        self._options = options
        self._tell = tell
        self._agent = AgentLink(
            "connect", access, options.agent, options.timeout_seconds, tell, on_lost=self._lost
        )
        self._redirect: Redirect | None = None
        self._leads: Leads | None = None
        self._explainer: Explainer | None = None
        self._echoes = True  # as far as the agent has not said that it may not send them
        self._names: Names | None = None

    def status(self) -> dict[str, Any]:
        """How it is doing, fit for JSON."""
        return {
            **self._agent.status(),
            "ranges": [str(net) for net in self._leads.ranges] if self._leads else [],
            "device": self._redirect.device if self._redirect else "",
            "echoes": self._echoes,
            "dns": self._names.status() if self._names else {},
        }

    async def explain(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """See :class:`~towline.features.uplink.explain.Explainer`; nothing until it is there."""
        return await self._explainer.explain(request) if self._explainer else {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Inside, names and addresses of the cluster work; afterwards nothing is left.

        Raises TowlineError, possibly in an exception group, for whatever stands in the way.
        """
        async with AsyncExitStack() as stack:
            agent = await stack.enter_async_context(self._agent)
            redirect = await stack.enter_async_context(self._open_redirect())
            nameservers = Nameservers()
            found = await self._start(agent)
            self._leads = leads = Leads(redirect, [*found.own, *nameservers.all()])
            link = await stack.enter_async_context(agent.linked())
            await self._lead(leads, found)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            dialer = Dialer(link, redirect, group)
            flows = Flows(link, redirect.tun.send, self._note_no_echoes)
            stack.callback(flows.close)
            await stack.enter_async_context(
                Intercept.open(redirect, group, dialer.dial, dialer.accept, flows.take)
            )
            cache_seconds = self._options.names.cache_seconds
            self._names = names = Names(
                link, redirect, leads, nameservers, self._note, cache_seconds=cache_seconds
            )
            await stack.enter_async_context(names.serve(self._cluster_names(link)))
            self._explainer = Explainer(agent.client, self._access.namespace, names, leads, dialer)
            agent.live()
            yield

    async def ended(self) -> None:
        """Wait until the connection cannot go on; raises RedirectError with the reason."""
        assert self._redirect is not None
        await self._redirect.lost.wait()
        raise RedirectError(
            "The helper that held this machine's redirect was ended; nothing of it is left.",
            "Start the session again.",
        )

    @asynccontextmanager
    async def _open_redirect(self) -> AsyncIterator[Redirect]:
        helper = self._options.helper
        async with Redirect.open() if helper is None else Redirect.adopt(helper) as redirect:
            self._redirect = redirect
            yield redirect

    async def _start(self, agent: AgentLink) -> _Found:
        """Start the agent, and meanwhile look at the cluster and at this machine."""
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.start())
            networks = group.create_task(ranges.discover(agent.client))
            own = group.create_task(addresses_of(self._access))
            routes = group.create_task(_routes())
            outside = group.create_task(self._is_outside_of_mesh(agent.client))
        return _Found(networks.result(), own.result(), routes.result(), outside.result())

    async def _is_outside_of_mesh(self, client: Client) -> bool:
        agent = self._options.agent
        if isinstance(agent, Host) or agent.sidecar is not None:
            return False
        with suppress(TowlineError):
            others = f"!{AGENT_LABEL}"
            return await sidecar.of_pods(client, self._access.namespace, others) is not None
        return False

    async def _lead(self, leads: Leads, found: _Found) -> None:
        """Lead the cluster's ranges here, and tell of those that stay unreachable."""
        usable = [network for network in found.ranges if leadable(network)]
        await leads.add(usable)
        if len(usable) < len(found.ranges):
            self._note(findings.of_unusable(set(found.ranges).difference(usable)))
        hidden = [each for each in conflicts.find(usable, found.routes) if not each.cluster_wins]
        if hidden:
            self._note(findings.of_routes(usable, hidden))
        if found.outside_of_mesh:
            self._note(findings.of_mesh(self._access.namespace))

    def _cluster_names(self, link: Link) -> ClusterNames:
        asked = self._options.names
        own = [Name.of(host) for host in hosts_of(self._access) if not _is_address(host)]
        return ClusterNames.of_pod(
            str(link.agent.get("resolv_conf", "")),
            self._access.namespace,
            domain=asked.cluster_domain,
            inside=asked.domains,
            outside=(*asked.excluded, *own),
        )

    def _note_no_echoes(self) -> None:
        if self._echoes:
            self._echoes = False
            self._note(findings.of_echoes())

    def _lost(self) -> None:
        if self._names:
            self._names.forget()

    def _note(self, finding: Finding) -> None:
        text = f"{finding.what}. {finding.hint}"
        self._tell.event("note", text, what=finding.what, hint=finding.hint)


async def _routes() -> list[Route]:
    """This machine's routes, for what there is to say of them; without `ip` there is nothing."""
    with suppress(RedirectError):
        return await asyncio.to_thread(conflicts.read_routes)
    return []


def _is_address(text: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(text))
    return False
