"""The uplink: every service of the cluster by its name from this machine, while it lasts."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any, Protocol
from urllib.parse import urlsplit

from towline.cluster import ranges
from towline.cluster.job import AgentSpec
from towline.cluster.keeper import AgentKeeper
from towline.cluster.ranges import Address, Network
from towline.dns.policy import ClusterNames, Policy
from towline.dns.resolvconf import ResolvConfFile
from towline.dns.resolver import Resolver
from towline.dns.upstream import Upstream
from towline.errors import RedirectError
from towline.features.dialer import Dialer
from towline.kube.client import Client
from towline.kube.config import Access
from towline.link.link import Link
from towline.redirect import conflicts
from towline.redirect.control import Redirect
from towline.redirect.intercept import Intercept
from towline.relay.request import request
from towline.wire.frames import Kind

RESOLVE_SECONDS = 6.0
# A lookup waits so long for a link that is coming back, which is less than programs wait for it.
PATIENCE_SECONDS = 3.0


class Narrator(Protocol):
    """Tells the user how it goes."""

    def progress(self, message: str) -> None:
        """What is being waited for now."""

    def event(self, name: str, message: str, **data: Any) -> None:
        """Something that happened."""


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """What the user chose. `helper` is the socket of a root helper, if one was started already."""

    agent: AgentSpec
    timeout_seconds: float
    helper: socket.socket | None = None


@dataclass(slots=True)
class _State:
    state: str = "starting"
    ranges: list[Network] = field(default_factory=list)
    device: str = ""
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0


class Connection:
    """One uplink: :meth:`open` brings it up and takes it down."""

    def __init__(self, access: Access, options: ConnectOptions, tell: Narrator) -> None:
        self._access = access
        self._options = options
        self._tell = tell
        self._now = _State()
        self._keeper: AgentKeeper | None = None
        self._redirect: Redirect | None = None
        self._link: Link | None = None

    def status(self) -> dict[str, Any]:
        """How it is doing, fit for JSON."""
        return {
            "pid": os.getpid(),
            "state": self._now.state,
            "context": self._access.context,
            "namespace": self._access.namespace,
            "server": self._access.server,
            "since": self._now.since,
            "seconds": round(self._now.seconds, 3),
            "ranges": [str(net) for net in self._now.ranges],
            "device": self._now.device,
            "agent": self._keeper.pod if self._keeper else "",
            "streams": self._link.streams if self._link else 0,
            "tasks": len(asyncio.all_tasks()),
        }

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Inside, names and addresses of the cluster work; afterwards nothing is left.

        Raises TowlineError, possibly in an exception group, for whatever stands in the way.
        """
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(self._access))
            keeper = await stack.enter_async_context(self._new_keeper(client))
            redirect = await stack.enter_async_context(self._open_redirect())
            found = await self._start(client, keeper)
            link = await stack.enter_async_context(Link(keeper.connect, self))
            self._link = link
            self._tell.progress("Waiting for the agent to answer")
            await link.first(self._options.timeout_seconds)
            await self._lead(redirect, found)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            dialer = Dialer(link, redirect, group)
            await stack.enter_async_context(
                Intercept.open(redirect, group, dialer.dial, dialer.accept)
            )
            await self._serve_names(stack, link, redirect)
            group.create_task(keeper.settle(), name="settle")
            self._now.state = "connected"
            self._now.seconds = time.monotonic() - self._now.began
            try:
                yield
            finally:
                self._now.state = "ending"

    async def ended(self) -> None:
        """Wait until the connection cannot go on; raises RedirectError with the reason."""
        assert self._redirect is not None
        await self._redirect.lost.wait()
        raise RedirectError(
            "The helper that held this machine's redirect was ended; nothing of it is left.",
            "Start the session again.",
        )

    # -- how the link is doing (towline.link.link.Observer)

    def link_up(self) -> None:
        """The link is there, for the first time or again."""
        if self._now.state == "reconnecting":
            self._now.state = "connected"
            self._tell.event("reconnected", "The link to the cluster is back.")

    def link_down(self, reason: str) -> None:
        """The link is lost; it comes back by itself, through another agent if need be."""
        if self._keeper:
            self._keeper.doubt()
        if self._now.state == "connected":
            self._now.state = "reconnecting"
            self._tell.event(
                "reconnecting", f"The link to the cluster is lost ({reason}); reconnecting."
            )

    def link_failing(self, reason: str) -> None:
        """It does not come up, or back, for a reason that is news."""
        if self._now.state == "starting":
            self._tell.progress(f"Waiting for the agent to answer: {reason}")
        elif self._now.state == "reconnecting":
            self._tell.event("reconnecting", f"Still reconnecting: {reason}")

    # -- bringing it up

    @asynccontextmanager
    async def _open_redirect(self) -> AsyncIterator[Redirect]:
        helper = self._options.helper
        async with Redirect.open() if helper is None else Redirect.adopt(helper) as redirect:
            self._redirect = redirect
            self._now.device = redirect.device
            yield redirect

    def _new_keeper(self, client: Client) -> AgentKeeper:
        self._keeper = AgentKeeper(
            client,
            self._access.namespace,
            self._options.agent,
            self._tell.progress,
            self._options.timeout_seconds,
        )
        return self._keeper

    async def _start(self, client: Client, keeper: AgentKeeper) -> list[Network]:
        """Start the agent, and meanwhile find the cluster's ranges."""
        async with asyncio.TaskGroup() as group:
            group.create_task(keeper.start())
            found = group.create_task(ranges.discover(client))
            own = group.create_task(_addresses_of(self._access.server))
        return conflicts.without(found.result(), own.result())

    async def _lead(self, redirect: Redirect, networks: Iterable[Network]) -> None:
        await redirect.add_routes(networks)
        self._now.ranges = ranges.merge([*self._now.ranges, *networks])

    async def _serve_names(self, stack: AsyncExitStack, link: Link, redirect: Redirect) -> None:
        """Start the resolver and lead this machine's lookups to it."""
        conf = ResolvConfFile()
        host = urlsplit(self._access.server).hostname or ""
        names = ClusterNames.of_pod(
            str(link.agent.get("resolv_conf", "")),
            self._access.namespace,
            [] if _is_address(host) else [host],
        )
        policy = Policy(names, in_ranges=self._is_ours, laptop_search=lambda: conf.current().search)

        async def ask_cluster(message: bytes) -> bytes:
            await link.ready(PATIENCE_SECONDS)
            return await request(link.peer, Kind.RESOLVE, message, RESOLVE_SECONDS)

        async def lead_new(addresses: Iterable[Address]) -> None:
            await self._lead(redirect, [ip_network(a) for a in addresses if not self._is_ours(a)])

        async def marked_socket(family: int, kind: int) -> socket.socket:
            return await redirect.upstream_socket(
                socket.AddressFamily(family), socket.SocketKind(kind)
            )

        upstream = Upstream(conf.current, factory=marked_socket)
        resolver = await stack.enter_async_context(
            Resolver(
                ask_cluster=ask_cluster,
                ask_upstream=upstream.ask,
                policy=policy,
                on_answer=lead_new,
            )
        )
        servers = [ip_address(text) for text in conf.current().nameservers if "%" not in text]
        await redirect.capture_dns(servers, resolver.port)

    def _is_ours(self, address: Address) -> bool:
        return any(address in net for net in self._now.ranges if net.version == address.version)


async def _addresses_of(server: str) -> list[Address]:
    """Where the API server is reached: these addresses must keep their own way."""
    parts = urlsplit(server)
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        found = await loop.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
        return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return []


def _is_address(text: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(text))
    return False
