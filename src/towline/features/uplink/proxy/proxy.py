"""One `tow proxy`: a local port for SOCKS and HTTP that leads to what the cluster reaches."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from towline.cluster.discovery import Discovery
from towline.cluster.ranges import Address, Kind, Network
from towline.features.state import Narrator
from towline.features.uplink import listening
from towline.features.uplink.agentlink import AgentLink, LinkOptions
from towline.features.uplink.leads import addresses_of, hosts_of
from towline.features.uplink.nameoptions import NameOptions, cluster_names
from towline.features.uplink.proxy.conversation import Conversation
from towline.features.uplink.proxy.whose import Whose
from towline.features.uplink.targets import Targets
from towline.features.uplink.way import Way
from towline.kube.config import Access
from towline.link.link import Link


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """What the user chose: where to listen, with port 0 on any that is free.

    With `everything`, all but this machine itself is reached from the cluster. `include` is, too,
    and `exclude` is not, whatever else says so.
    """

    address: str
    port: int
    everything: bool
    names: NameOptions
    include: Targets
    exclude: Targets
    link: LinkOptions


class Proxy(Way):
    """A proxy: :meth:`open` brings it up and takes it down."""

    def __init__(self, access: Access, options: ProxyOptions, tell: Narrator) -> None:
        self._access = access
        self._options = options
        self._tell = tell
        self._agent = AgentLink("proxy", access, options.link, tell)
        self._listening = ""
        # Where it is for others, too.
        self._addresses: list[str] = []
        self._discovery: Discovery | None = None

    def status(self) -> dict[str, Any]:
        """How it is doing, fit for JSON."""
        return {
            **self._agent.status(),
            "listening": self._listening,
            "addresses": self._addresses,
            "environment": self._environment(),
            "everything": self._options.everything,
        }

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Inside, the proxy listens. Raises TowlineError, perhaps in a group."""
        async with AsyncExitStack() as stack:
            agent = await stack.enter_async_context(self._agent)
            bound = self._bind(stack)
            discovery = await stack.enter_async_context(
                Discovery(agent.client, self._access.namespace)
            )
            self._discovery = discovery
            async with asyncio.TaskGroup() as starting:
                starting.create_task(agent.start())
                starting.create_task(discovery.ask())
                own = starting.create_task(addresses_of(self._access))
            link = await stack.enter_async_context(agent.linked())
            await discovery.ask_agent(link.agent, agent.pod)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            whose = self._whose(link, group, own.result())
            loop = asyncio.get_running_loop()
            for each in bound:
                server = await loop.create_server(
                    lambda: Conversation(link, whose, group), sock=each
                )
                stack.callback(server.close)
            agent.live()
            yield

    def _bind(self, stack: AsyncExitStack) -> list[socket.socket]:
        """Have the port before anything is made in the cluster, and tell who else may use it."""
        address = self._options.address
        bound = listening.bind((address,), self._options.port, socket.SOCK_STREAM)
        for each in bound:
            stack.enter_context(each)
        host, port = bound[0].getsockname()[:2]
        self._listening = listening.written(host, port)
        self._addresses = [listening.written(each, port) for each in listening.reached_at(host)]
        if not ip_address(host).is_loopback:
            where = " or ".join(self._addresses)
            what = f"Whoever reaches {where} may use the proxy, and so the cluster"
            hint = "It asks for no password: listen on 127.0.0.1 unless you trust that network."
            self._tell.event("note", f"{what}. {hint}", what=what, hint=hint)
        return bound

    def _whose(self, link: Link, group: asyncio.TaskGroup, own: Iterable[Address]) -> Whose:
        options = self._options
        include, exclude = options.include, options.exclude
        return Whose(
            link,
            group,
            cluster_names(link, self._access, options.names, include, exclude),
            self._ranges,
            (*map(ip_network, own), *exclude.networks),
            everything=options.everything,
            cache_seconds=options.names.cache_seconds,
        )

    def _ranges(self) -> list[Network]:
        """The cluster's, as far as they are known now, and what the user includes."""
        included = self._options.include.networks
        if self._discovery is None:
            return [*included]
        return [*included, *(each for kind in Kind for each in self._discovery.networks(kind))]

    def _environment(self) -> dict[str, str]:
        """What leads programs here, by the variables that most of them heed."""
        if not self._addresses:
            return {}
        address = self._addresses[0]
        direct = ["localhost", "127.0.0.1", "::1", *hosts_of(self._access)]
        return {
            "ALL_PROXY": f"socks5h://{address}",
            "HTTP_PROXY": f"http://{address}",
            "HTTPS_PROXY": f"http://{address}",
            "NO_PROXY": ",".join(dict.fromkeys(direct)),
        }
