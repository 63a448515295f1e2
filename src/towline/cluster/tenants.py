"""The agents that run in a pod of somebody else's, as its spec and status tell of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from towline.agent.intercept import Intercepted
from towline.cluster.transports import Transports
from towline.kube.client import Client
from towline.kube.streams import PortForwardError
from towline.relay.peer import LinkLost, Peer
from towline.wire.frames import ProtocolError
from towline.wire.mux import Mux
from towline.wire.target import Port

NAME_PREFIX = "towline-"
OWNER_ENV, SINCE_ENV = "TOWLINE_OWNER", "TOWLINE_SINCE"
GOODBYE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Tenant:
    """An agent in an ephemeral container that has not ended: whose, since when, for which ports.

    `link_port` is where it waits for its session.
    """

    container: str
    owner: str
    since: str
    ports: tuple[Port, ...]
    link_port: int

    async def say_goodbye(self, client: Client, namespace: str, pod: str, successor: str) -> None:
        """Have it end as if its own session had said so; nothing happens if it has ended."""
        transports = Transports(client, namespace, self.container, self.link_port)
        gone = (LinkLost, OSError, PortForwardError, ProtocolError, TimeoutError)
        with contextlib.suppress(*gone):
            async with asyncio.timeout(GOODBYE_SECONDS):
                _, peer = await transports.connect(pod, lambda: Peer(Mux(client=True)))
                try:
                    await peer.ready()
                    peer.go_away(f"{successor} takes over")
                finally:
                    peer.close()


def tenants(pod: Mapping[str, Any]) -> list[Tenant]:
    """All of a pod's; what is not as this version makes them is none."""
    statuses = pod.get("status", {}).get("ephemeralContainerStatuses") or ()
    ended = {each["name"] for each in statuses if "terminated" in each.get("state", {})}
    running = [
        container
        for container in pod["spec"].get("ephemeralContainers") or ()
        if _is_agent(container) and container["name"] not in ended
    ]
    return [tenant for container in running if (tenant := _tenant(container))]


def _is_agent(container: Mapping[str, Any]) -> bool:
    return container["name"].startswith(NAME_PREFIX) and OWNER_ENV in _environment(container)


def _tenant(container: Mapping[str, Any]) -> Tenant | None:
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
        tuple(each.port for each in intercepted),
        link_port,
    )


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container.get("env") or ()}


def _values(container: Mapping[str, Any], option: str) -> Iterable[str]:
    for argument in container.get("args") or ():
        name, _, value = argument.partition("=")
        if name == f"--{option}":
            yield value
