"""One `tow forward`: local ports that lead to an object of the cluster, or to a host it reaches."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from towline.dns.policy import ClusterNames
from towline.errors import UsageError
from towline.features.reference import Reference
from towline.features.state import Narrator
from towline.features.uplink import listening
from towline.features.uplink.agentlink import AgentLink, LinkOptions
from towline.features.uplink.forward import ports
from towline.features.uplink.forward.agentless import Agentless, refuse_unfit
from towline.features.uplink.forward.pods import FollowedPod
from towline.features.uplink.forward.portforward import ByPod
from towline.features.uplink.forward.ports import Chosen, Offered
from towline.features.uplink.forward.streams import ByLink, Where
from towline.features.uplink.forward.target import Host, Wish
from towline.features.uplink.forward.troubles import Troubles
from towline.features.uplink.listening import Arrival
from towline.features.uplink.way import Way
from towline.kube.client import Client
from towline.kube.config import Access
from towline.kube.resources import PODS, SERVICES, Object
from towline.link.link import Link
from towline.wire.target import Port, Protocol


@dataclass(frozen=True, slots=True)
class ForwardOptions:
    """What the user chose. Without `addresses`, only this machine itself reaches the ports.

    Without `link` there is to be no agent.
    """

    target: Reference | Host
    wishes: Sequence[Wish]
    addresses: Sequence[str]
    link: LinkOptions | None


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
        self._agent: AgentLink | Agentless = (
            AgentLink("forward", access, options.link, tell)
            if options.link
            else Agentless("forward", access, tell)
        )
        self._bound: list[_Bound] = []
        self._pod: FollowedPod | None = None
        # Where ports of the service are in its pods.
        self._listens: dict[Port, int | str] = {}

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
            agent = self._agent
            await stack.enter_async_context(agent)
            if self._options.link is None:
                refuse_unfit(self._options.target, self._options.wishes)
            chosen = await self._look(agent.client)
            self._bind(stack, chosen)
            await agent.start()
            link = await stack.enter_async_context(agent.linked())
            group = await stack.enter_async_context(asyncio.TaskGroup())
            serving = await self._serve(stack, group, agent.client, link)
            tasks = [group.create_task(each) for each in serving]
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
            if self._options.link is None:
                if not found["spec"].get("selector"):
                    raise UsageError(f"No pods are known for {target}.", "Leave out --no-agent.")
                self._pod = FollowedPod(client, self._access.namespace, target, found)
                self._listens = ports.listens(found)
            return ports.choose(self._carried(ports.of_service(found)), wishes, others=anything)
        self._pod = FollowedPod(client, self._access.namespace, target, found)
        offered = ports.of_pod(_pod_spec(target, found))
        return ports.choose(self._carried(offered), wishes, others=True)

    def _carried(self, offered: Iterable[Offered]) -> list[Offered]:
        """Those that can be carried: without an agent no datagrams."""
        with_agent = self._options.link is not None
        return [each for each in offered if with_agent or each.port.protocol is Protocol.TCP]

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
        self,
        stack: AsyncExitStack,
        group: asyncio.TaskGroup,
        client: Client,
        link: Link | None,
    ) -> list[Any]:
        """Let connections in; gives what else is to run meanwhile."""
        way = self._way(client, link)
        running = []
        if self._pod is not None:
            following = group.create_task(self._pod.follow(self._moved))
            stack.callback(following.cancel)
            await self._pod.known()
        for bound in self._bound:
            for each in bound.sockets:
                if isinstance(way, ByLink) and bound.port.remote.protocol is Protocol.UDP:
                    running.append(way.serve_datagrams(each, bound.port))
                else:
                    await _listen(stack, group, each, way, bound.port)
        return running

    def _way(self, client: Client, link: Link | None) -> ByLink | ByPod:
        troubles = Troubles(str(self._options.target), self._tell)
        if link:
            return ByLink(link, self._where(link), troubles)
        assert self._pod
        return ByPod(client, self._access.namespace, self._pod, self._listens, troubles)

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
    way: ByLink | ByPod,
    port: Chosen,
) -> None:
    def arrived(transport: asyncio.Transport) -> None:
        group.create_task(way.carry(transport, port), name=f"carry {port.remote}")

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Arrival(arrived), sock=bound)
    stack.callback(server.close)


def _pod_spec(target: Reference, found: Object) -> Object:
    spec: Object = found["spec"]
    return spec if target.resource == PODS else spec["template"]["spec"]
