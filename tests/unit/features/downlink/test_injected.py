"""One pod that is held, by one agent after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from towline.cluster.ephemeral import EphemeralAgent
from towline.cluster.job import AgentSpec
from towline.errors import AgentError, SessionError, TowlineError
from towline.features.downlink import injected
from towline.features.downlink.injected import Injected, Links
from towline.features.downlink.takeover import Wanted
from towline.features.local.child import Child
from towline.features.local.delivery import Delivery
from towline.features.reference import Reference
from towline.features.state import SessionState
from towline.kube.config import Access
from towline.relay.peer import Peer
from towline.wire.mux import Mux

SECONDS = 20.0
FORCE = Wanted(
    Reference.parse("pod/web"),
    exposed=(),
    strict=False,
    force=True,
    copy=False,
    proxy_protocol=False,
    child=Child(()),
    agent=AgentSpec(name="job", owner="jane@laptop"),
    timeout_seconds=SECONDS,
)


class Told:
    """A user to whom nothing matters."""

    def progress(self, message: str) -> None: ...

    def event(self, name: str, message: str, **data: Any) -> None: ...


class Pod:
    """With a tenant; an agent of ours in it starts while that is none of somebody else's."""

    def __init__(self) -> None:
        self.tenants = ["joe"]
        self.peers: list[Peer] = []
        self.port = 0
        self.stopped = 0
        """How many agents were told that they are not wanted after all."""

    def end_agent(self, tenant: str) -> None:
        """As when somebody takes over, whose own agent is only just coming."""
        self.tenants = [tenant]
        for peer in self.peers:
            peer.abort()


class Agent:
    def __init__(self, pod: Pod) -> None:
        self._pod = pod

    async def tenants(self) -> list[str]:
        return self._pod.tenants

    async def dismiss(self, tenant: str) -> None:
        self._pod.tenants = []

    async def start(self, *_: object) -> None:
        for tenant in self._pod.tenants:
            raise SessionError(f"{tenant} has it")

    async def connect(self, factory: Callable[[], Peer]) -> tuple[asyncio.Transport, Peer]:
        loop = asyncio.get_running_loop()
        return await loop.create_connection(factory, "127.0.0.1", self._pod.port)

    async def stop(self) -> None:
        self._pod.stopped += 1

    async def failure(self) -> TowlineError | None:
        return AgentError("it has ended")


@asynccontextmanager
async def held() -> AsyncIterator[tuple[Pod, Injected]]:
    pod = Pod()

    def accept() -> Peer:
        pod.peers.append(Peer(Mux(client=False)))
        return pod.peers[-1]

    server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
    pod.port = server.sockets[0].getsockname()[1]
    state = SessionState("exchange", cast("Access", None), Told(), lambda: None, lambda: "")
    try:
        yield (
            pod,
            Injected(
                "web",
                lambda: cast("EphemeralAgent", Agent(pod)),
                lambda group: Delivery({}, group),
                FORCE,
                Links(state),
                Told(),
            ),
        )
    finally:
        server.close()


async def test_who_has_taken_over_is_not_driven_out_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(injected, "RETRY_SECONDS", 0.0)
    async with asyncio.timeout(SECONDS), held() as (pod, here):
        running = asyncio.create_task(here.run())
        await here.live.wait()
        pod.end_agent("ann")
        with pytest.raises(SessionError, match="ann has it"):
            await running
        assert pod.tenants == ["ann"]
        assert pod.stopped == 1, "the second agent, to which no link has come"
