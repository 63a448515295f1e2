"""The agents that run in a pod of somebody else's, as its spec and status tell of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from towline.agent.intercept import Intercepted
from towline.cluster import podstate
from towline.cluster.transports import Transports
from towline.kube.client import Client
from towline.kube.streams import PortForwardError
from towline.relay.peer import LinkLost, Peer
from towline.wire.frames import ProtocolError
from towline.wire.mux import Mux
from towline.wire.target import Port

NAME_PREFIX = "towline-"
OWNER_ENV, SINCE_ENV, COMMAND_ENV = "TOWLINE_OWNER", "TOWLINE_SINCE", "TOWLINE_COMMAND"
GOODBYE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Tenant:
    """An agent in an ephemeral container that has not ended: whose, since when, for which ports.

    `command` is that of its session, `link_port` where it waits for it; `runs` says that it has
    got as far as that.
    """

    container: str
    owner: str
    since: str
    command: str
    ports: tuple[Port, ...]
    link_port: int
    runs: bool

    async def say_goodbye(self, client: Client, namespace: str, pod: str, why: str) -> bool:
        """Have it end as if its own session had said so; False if it cannot be reached."""
        return await self._reach(client, namespace, pod, lambda peer: peer.go_away(why))

    async def is_waiting(self, client: Client, namespace: str, pod: str) -> bool:
        """Whether it still takes a session; one that is about to end does not."""
        return await self._reach(client, namespace, pod, lambda _: None)

    async def _reach(
        self, client: Client, namespace: str, pod: str, say: Callable[[Peer], None]
    ) -> bool:
        transports = Transports(client, namespace, self.container, self.link_port)
        gone = (LinkLost, OSError, PortForwardError, ProtocolError, TimeoutError)
        with contextlib.suppress(*gone):
            async with asyncio.timeout(GOODBYE_SECONDS):
                _, peer = await transports.connect(pod, lambda: Peer(Mux(client=True)))
                try:
                    await peer.ready()
                    say(peer)
                    return True
                finally:
                    peer.close()
        return False


def tenants(pod: Mapping[str, Any]) -> list[Tenant]:
    """All of a pod's; what is not as this version makes them is none.

    Nor is one that no session waits for any more, as it cannot start.
    """
    statuses = pod.get("status", {}).get("ephemeralContainerStatuses") or ()
    ended = {each["name"] for each in statuses if podstate.is_over(each)}
    started = {each["name"] for each in statuses if "running" in each.get("state", {})}
    living = [
        container
        for container in pod["spec"].get("ephemeralContainers") or ()
        if _is_agent(container) and container["name"] not in ended
    ]
    found = [_tenant(container, container["name"] in started) for container in living]
    return [tenant for tenant in found if tenant]


def _is_agent(container: Mapping[str, Any]) -> bool:
    return container["name"].startswith(NAME_PREFIX) and OWNER_ENV in _environment(container)


def _tenant(container: Mapping[str, Any], runs: bool) -> Tenant | None:
    environment = _environment(container)
    try:
        intercepted = [Intercepted.parse(each) for each in _values(container, "intercept")]
        link_port = int(next(iter(_values(container, "port")), 0))
    except ValueError:
        return None
    return Tenant(
        container["name"],
        environment[OWNER_ENV],
        environment.get(SINCE_ENV, ""),
        environment.get(COMMAND_ENV, "exchange"),
        tuple(each.port for each in intercepted),
        link_port,
        runs,
    )


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container.get("env") or ()}


def _values(container: Mapping[str, Any], option: str) -> Iterable[str]:
    for argument in container.get("args") or ():
        name, _, value = argument.partition("=")
        if name == f"--{option}":
            yield value
