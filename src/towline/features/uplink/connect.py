"""The uplink: every service of the cluster by its name from this machine, while it lasts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from towline.agent.undo import AGENT_LABEL
from towline.cluster import sidecar
from towline.cluster.discovery import Discovery
from towline.cluster.guest import HostPod
from towline.errors import RedirectError, TowlineError
from towline.features import findings
from towline.features.findings import Finding
from towline.features.state import Answer, Narrator
from towline.features.uplink.agentlink import AgentLink, LinkOptions
from towline.features.uplink.capture import Capture, Choice
from towline.features.uplink.dialer import Dialer
from towline.features.uplink.explain import Explainer
from towline.features.uplink.flows import Flows
from towline.features.uplink.leads import Leads
from towline.features.uplink.named import Named
from towline.features.uplink.nameoptions import NameOptions, cluster_names
from towline.features.uplink.names import Names, Nameservers
from towline.features.uplink.way import Way
from towline.kube.client import Client
from towline.kube.config import Access
from towline.link.link import Link
from towline.redirect.control import Redirect
from towline.redirect.intercept import Intercept


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """What the user chose. `helper` is the socket of a root helper, if one was started already."""

    link: LinkOptions
    names: NameOptions = field(default_factory=NameOptions)
    choice: Choice = field(default_factory=Choice)
    helper: socket.socket | None = None


class Connection(Way):
    """One uplink: :meth:`open` brings it up and takes it down."""

    def __init__(self, access: Access, options: ConnectOptions, tell: Narrator) -> None:
        self._access = access
        self._options = options
        self._tell = tell
        self._agent = AgentLink("connect", access, options.link, tell, on_lost=self._lost)
        self._redirect: Redirect | None = None
        self._capture: Capture | None = None
        self._explainer: Explainer | None = None
        self._flows: Flows | None = None
        self._names: Names | None = None

    def status(self) -> dict[str, Any]:
        """How it is doing, fit for JSON."""
        return {
            **self._agent.status(),
            **(self._capture.status() if self._capture else {"ranges": [], "captured": []}),
            "device": self._redirect.device if self._redirect else "",
            "echoes": self._flows.echoes if self._flows else True,
            "dns": self._names.status() if self._names else {},
        }

    def answers(self) -> dict[str, Answer]:
        """What other processes may ask it, by the command that asks."""
        return {"explain": self._explain}

    async def _explain(self, request: Mapping[str, Any]) -> dict[str, Any]:
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
            nameservers, named = Nameservers(), Named()
            leads = Leads(redirect, named, nameservers.all(), self._options.choice.exclude.networks)
            capture = await stack.enter_async_context(self._started(agent, leads))
            link = await stack.enter_async_context(agent.linked())
            await capture.begin(link)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            dialer = Dialer(link, redirect, named, group)
            self._flows = flows = Flows(
                link, redirect.tun.send, named.used, lambda: self._note(findings.of_echoes())
            )
            stack.callback(flows.close)
            await stack.enter_async_context(
                Intercept.open(redirect, group, dialer.dial, dialer.accept, flows.take)
            )
            names = await stack.enter_async_context(
                self._serve_names(link, redirect, leads, nameservers)
            )
            self._explainer = Explainer(
                agent.client, self._access.namespace, names, leads, dialer, link
            )
            following = group.create_task(capture.follow(link), name="ranges")
            agent.live()
            try:
                yield
            finally:
                following.cancel()

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

    @asynccontextmanager
    async def _started(self, agent: AgentLink, leads: Leads) -> AsyncIterator[Capture]:
        """Inside, the agent is started, and it is known what to lead to it."""
        async with Discovery(agent.client, self._access.namespace) as discovery:
            self._capture = capture = Capture(
                self._access,
                discovery,
                leads,
                self._options.choice,
                lambda: agent.pod,
                self._note,
            )
            await self._start(agent, discovery, capture)
            yield capture

    async def _start(self, agent: AgentLink, discovery: Discovery, capture: Capture) -> None:
        """Start the agent, and meanwhile look at the cluster and at this machine."""
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.start())
            group.create_task(discovery.ask(self._options.choice.kinds))
            group.create_task(capture.look_around())
            outside = group.create_task(self._is_outside_of_mesh(agent.client))
        if outside.result():
            self._note(findings.of_mesh(self._access.namespace))

    async def _is_outside_of_mesh(self, client: Client) -> bool:
        agent = self._options.link.agent
        if isinstance(agent, HostPod) or agent.sidecar is not None:
            return False
        with suppress(TowlineError):
            others = f"!{AGENT_LABEL}"
            return await sidecar.of_pods(client, self._access.namespace, others) is not None
        return False

    @asynccontextmanager
    async def _serve_names(
        self, link: Link, redirect: Redirect, leads: Leads, nameservers: Nameservers
    ) -> AsyncIterator[Names]:
        """Inside, the cluster's names are answered by the cluster."""
        wanted, choice = self._options.names, self._options.choice
        self._names = names = Names(
            link, redirect, leads, nameservers, self._note, cache_seconds=wanted.cache_seconds
        )
        told = cluster_names(link, self._access, wanted, choice.include, choice.exclude)
        async with names.serve(told):
            yield names

    def _lost(self) -> None:
        if self._names:
            self._names.forget()

    def _note(self, finding: Finding) -> None:
        text = f"{finding.what}. {finding.hint}"
        self._tell.event("note", text, what=finding.what, hint=finding.hint)
