"""One `tow forward`: local ports that lead to an object of the cluster, or to a host it reaches."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from towline.dns.policy import ClusterNames
from towline.features.reference import Reference
from towline.features.state import Narrator
from towline.features.uplink import listening
from towline.features.uplink.agentlink import AgentLink, LinkOptions
from towline.features.uplink.forward import ports
from towline.features.uplink.forward.pods import FollowedPod
from towline.features.uplink.forward.ports import Chosen
from towline.features.uplink.forward.streams import ByLink, Where
from towline.features.uplink.forward.target import Host, Wish
from towline.features.uplink.forward.troubles import Troubles
from towline.features.uplink.listening import Arrival
from towline.features.uplink.way import Way
from towline.kube.client import Client
from towline.kube.config import Access
from towline.kube.resources import PODS, SERVICES, Object
from towline.link.link import Link
from towline.wire.target import Protocol


@dataclass(frozen=True, slots=True)
class ForwardOptions:
    """What the user chose. Without `addresses`, only this machine itself reaches the ports."""

    target: Reference | Host
    wishes: Sequence[Wish]
    addresses: Sequence[str]
    link: LinkOptions


@dataclass(frozen=True, slots=True)
class _Bound:
    """A port with the sockets that wait for it here."""

    port: Chosen
    sockets: Sequence[socket.socket]

    def status(self) -> dict[str, Any]:
        """Both ends, fit for JSON."""
        host, port = self.sockets[0].getsockname()[:2]
        return {
            "remote": self.port.remote.number,
            "protocol": self.port.remote.protocol.name,
            "local": listening.written(host, port),
        }


class Forward(Way):
    """A forward: :meth:`open` brings it up and takes it down."""

    def __init__(self, access: Access, options: ForwardOptions, tell: Narrator) -> None:
        self._access = access
        self._options = options
        self._tell = tell
        self._agent = AgentLink("forward", access, options.link, tell)
        self._bound: list[_Bound] = []
        self._pod: FollowedPod | None = None

    def status(self) -> dict[str, Any]:
        """How it is doing, fit for JSON."""
        return {
            **self._agent.status(),
            "target": str(self._options.target),
            "forwarded": [each.status() for each in self._bound],
            **({"pod": self._pod.name} if self._pod else {}),
        }

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Inside, the local ports lead there. Raises TowlineError, perhaps in a group."""
        async with AsyncExitStack() as stack:
            agent = await stack.enter_async_context(self._agent)
            chosen = await self._look(agent.client)
            self._bind(stack, chosen)
            await agent.start()
            link = await stack.enter_async_context(agent.linked())
            group = await stack.enter_async_context(asyncio.TaskGroup())
            tasks = [group.create_task(each) for each in await self._serve(stack, group, link)]
            stack.callback(lambda: [task.cancel() for task in tasks])
            agent.live()
            yield

    async def _look(self, client: Client) -> list[Chosen]:
        """Find the target, and the ports that are meant. Raises UsageError, ApiError."""
        target, wishes = self._options.target, self._options.wishes
        if isinstance(target, Host):
            return ports.choose((), wishes, others=True)
        self._tell.progress(f"Looking at {target}")
        found = await client.get(target.resource, target.name, namespace=self._access.namespace)
        if target.resource == SERVICES:
            # A service by another name has whatever ports that has.
            anything = found["spec"].get("type") == "ExternalName"
            return ports.choose(ports.of_service(found), wishes, others=anything)
        self._pod = FollowedPod(client, self._access.namespace, target, found)
        return ports.choose(ports.of_pod(_pod_spec(target, found)), wishes, others=True)

    def _bind(self, stack: AsyncExitStack, chosen: Sequence[Chosen]) -> None:
        """Have the local ports before anything is made in the cluster."""
        for port in chosen:
            udp = port.remote.protocol is Protocol.UDP
            kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
            bound = listening.bind(self._options.addresses, port.local, kind)
            for each in bound:
                stack.enter_context(each)
            self._bound.append(_Bound(port, bound))

    async def _serve(
        self, stack: AsyncExitStack, group: asyncio.TaskGroup, link: Link
    ) -> list[Any]:
        """Let connections in; gives what else is to run meanwhile."""
        troubles = Troubles(str(self._options.target), self._tell)
        by_link = ByLink(link, self._where(link), troubles)
        running = []
        if self._pod is not None:
            following = group.create_task(self._pod.follow(self._moved))
            stack.callback(following.cancel)
            await self._pod.known()
        for bound in self._bound:
            for each in bound.sockets:
                if bound.port.remote.protocol is Protocol.UDP:
                    running.append(by_link.serve_datagrams(each, bound.port))
                else:
                    await _listen(stack, group, each, by_link, bound.port)
        return running

    def _where(self, link: Link) -> Where:
        target = self._options.target
        if self._pod is not None:
            pod = self._pod
            return lambda: pod.address
        if isinstance(target, Host):
            return lambda: str(target)
        # By its full name, so that it is found at once, and also when it is made anew.
        namespace = self._access.namespace
        conf = str(link.agent.get("resolv_conf", ""))
        domain = ClusterNames.of_pod(conf, namespace).domain
        return lambda: f"{target.name}.{namespace}.svc.{domain}."

    def _moved(self, pod: str) -> None:
        what = f"leads to the pod {pod} now" if pod else "has no pod that is ready"
        self._tell.event("moved", f"{self._options.target} {what}.", pod=pod)


async def _listen(
    stack: AsyncExitStack,
    group: asyncio.TaskGroup,
    bound: socket.socket,
    by_link: ByLink,
    port: Chosen,
) -> None:
    def arrived(transport: asyncio.Transport) -> None:
        group.create_task(by_link.carry(transport, port), name=f"carry {port.remote}")

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Arrival(arrived), sock=bound)
    stack.callback(server.close)


def _pod_spec(target: Reference, found: Object) -> Object:
    spec: Object = found["spec"]
    return spec if target.resource == PODS else spec["template"]["spec"]
