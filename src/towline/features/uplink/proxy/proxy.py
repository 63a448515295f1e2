"""One `tow proxy`: a local port for SOCKS and HTTP that leads to what the cluster reaches."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from towline.cluster.discovery import Discovery
from towline.cluster.ranges import Address, Kind, Network
from towline.dns.policy import ClusterNames
from towline.features.state import Narrator
from towline.features.uplink import listening
from towline.features.uplink.agentlink import AgentLink, LinkOptions
from towline.features.uplink.leads import addresses_of, hosts_of
from towline.features.uplink.nameoptions import NameOptions
from towline.features.uplink.proxy.conversation import Conversation
from towline.features.uplink.proxy.whose import Whose
from towline.features.uplink.way import Way
from towline.kube.config import Access
from towline.link.link import Link
from towline.wire.dns import Name


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """What the user chose: where to listen, with port 0 on any that is free.

    With `everything`, all but this machine itself is reached from the cluster.
    """

    address: str
    port: int
    everything: bool
    names: NameOptions
    link: LinkOptions


class Proxy(Way):
    """A proxy: :meth:`open` brings it up and takes it down."""

    def __init__(self, access: Access, options: ProxyOptions, tell: Narrator) -> None:
        self._access = access
        self._options = options
        self._tell = tell
        self._agent = AgentLink("proxy", access, options.link, tell)
        self._listening = ""
        self._discovery: Discovery | None = None

    def status(self) -> dict[str, Any]:
        """How it is doing, fit for JSON."""
        return {
            **self._agent.status(),
            "listening": self._listening,
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
        self._listening = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if not ip_address(host).is_loopback:
            what = f"Whoever reaches {self._listening} may use the proxy, and so the cluster"
            hint = "It asks for no password: listen on 127.0.0.1 unless you trust that network."
            self._tell.event("note", f"{what}. {hint}", what=what, hint=hint)
        return bound

    def _whose(self, link: Link, group: asyncio.TaskGroup, own: Iterable[Address]) -> Whose:
        wanted = self._options.names
        hosts = [Name.of(host) for host in hosts_of(self._access) if not _is_address(host)]
        names = ClusterNames.of_pod(
            str(link.agent.get("resolv_conf", "")),
            self._access.namespace,
            domain=wanted.cluster_domain,
            inside=wanted.domains,
            outside=(*wanted.excluded, *hosts),
        )
        return Whose(
            link,
            group,
            names,
            self._ranges,
            own,
            everything=self._options.everything,
            cache_seconds=wanted.cache_seconds,
        )

    def _ranges(self) -> list[Network]:
        """The cluster's, as far as they are known now."""
        if self._discovery is None:
            return []
        return [network for kind in Kind for network in self._discovery.networks(kind)]

    def _environment(self) -> dict[str, str]:
        """What leads programs here, by the variables that most of them heed."""
        if not self._listening:
            return {}
        direct = ["localhost", "127.0.0.1", "::1", *hosts_of(self._access)]
        return {
            "ALL_PROXY": f"socks5h://{self._listening}",
            "HTTP_PROXY": f"http://{self._listening}",
            "HTTPS_PROXY": f"http://{self._listening}",
            "NO_PROXY": ",".join(dict.fromkeys(direct)),
        }


def _is_address(text: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(text))
    return False
