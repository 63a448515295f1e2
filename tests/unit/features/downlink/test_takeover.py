"""What becomes of an agent on which an object's traffic relies."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes.apiserver import ApiServer
from tests.unit.cluster.controllers import play_pod, set_status
from tests.unit.features.downlink.test_selector import WANTED
from towline.agent.intercept import Intercepted
from towline.errors import HopelessError
from towline.kube.client import Client
from towline.wire.target import Port

SECONDS = 20.0
SPEC = replace(WANTED.agent, intercepted=(Intercepted(Port(80)),))


class Told(asyncio.Queue[str]):
    """The notes of a session."""

    def progress(self, message: str) -> None: ...

    def event(self, name: str, message: str, **data: Any) -> None:
        self.put_nowait(message)


def restarted(times: int, reason: str = "OOMKilled") -> dict[str, Any]:
    """The status of a pod whose agent was started again so often, lastly for that reason."""
    last = {"lastState": {"terminated": {"reason": reason, "exitCode": 137}}} if times else {}
    started = {"image": "i", "state": {"running": {}}, "restartCount": times, **last}
    return {"phase": "Running", "containerStatuses": [started]}


async def watched(server: ApiServer) -> None:
    """Wait until the pod is watched once more than its start was."""
    while sum(each.query.get("watch") == "1" for each in server.requests) < 2:
        await asyncio.sleep(0.005)


async def test_agent_that_is_killed_for_its_memory_in_its_pod_is_told_until_it_is_hopeless() -> (
    None
):
    told = Told()
    async with asyncio.timeout(SECONDS), ApiServer() as server, Client(server.access()) as client:
        async with WANTED.keeper(client, SPEC, told) as keeper:
            starting = asyncio.ensure_future(keeper.start())
            await play_pod(server, client, restarted(0))
            await starting
            over = asyncio.ensure_future(WANTED.agent_gone(keeper))
            await watched(server)
            await set_status(server, keeper.pod, restarted(1, "Error"))
            for times in (2, 3):
                await set_status(server, keeper.pod, restarted(times))
                assert "--memory" in await told.get()
            await set_status(server, keeper.pod, restarted(4))
            with pytest.raises(HopelessError):
                await over
            assert told.empty()
