"""Which way a link goes: a real agent in this process, loopback for its own address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from tests.unit.link.agents import Cluster, Log
from towline.errors import AgentError, RedirectError
from towline.features.uplink import shortcut as module
from towline.features.uplink.shortcut import Shortcut, Transport
from towline.link.link import Link

SECONDS = 20.0
HERE = ["127.0.0.1"]


class Bench(NamedTuple):
    cluster: Cluster
    shortcut: Shortcut
    link: Link
    group: asyncio.TaskGroup

    async def until(self, transport: Transport) -> None:
        async with asyncio.timeout(SECONDS):
            while self.shortcut.transport is not transport:
                await asyncio.sleep(0.001)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets by which device this machine reaches the agent's address; loopback at first."""
    monkeypatch.setattr(module, "_addresses", lambda _: HERE)

    def is_now(name: str) -> None:
        monkeypatch.setattr(module.conflicts, "device_to", lambda _: name)

    is_now("lo")
    return is_now


@asynccontextmanager
async def linked(wanted: Transport) -> AsyncIterator[Bench]:
    cluster = Cluster()
    await cluster.start()
    shortcut = Shortcut(cluster.connect, wanted)
    try:
        async with (
            Link(shortcut.connect, Log(), on_transport=shortcut.consider) as link,
            asyncio.TaskGroup() as group,
        ):
            await link.first(SECONDS)
            yield Bench(cluster, shortcut, link, group)
    finally:
        await cluster.lose()


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("wanted", [Transport.AUTO, Transport.DIRECT])
async def test_link_moves_to_the_agents_own_address(wanted: Transport) -> None:
    async with linked(wanted) as bench:
        assert bench.shortcut.transport is Transport.API
        old = bench.link.peer
        await bench.shortcut.begin(bench.link, bench.group)
        await bench.until(Transport.DIRECT)
        async with asyncio.timeout(SECONDS):
            while not old.lost:
                await asyncio.sleep(0.001)


@pytest.mark.usefixtures("device")
async def test_next_agent_is_asked_again() -> None:
    async with linked(Transport.AUTO) as bench:
        await bench.shortcut.begin(bench.link, bench.group)
        await bench.until(Transport.DIRECT)
        await bench.cluster.lose()
        await bench.until(Transport.API)
        await bench.cluster.start()
        await bench.until(Transport.DIRECT)


@pytest.mark.parametrize("name", ["", "tow0"])
async def test_without_a_way_of_this_machines_own_it_stays_with_the_api(
    device: Callable[[str], None], name: str
) -> None:
    device(name)
    async with linked(Transport.AUTO) as bench:
        await bench.shortcut.begin(bench.link, bench.group)
        assert bench.shortcut.transport is Transport.API
    async with linked(Transport.DIRECT) as bench:
        with pytest.raises(AgentError, match="this machine has no route to it"):
            await bench.shortcut.begin(bench.link, bench.group)


async def test_machine_whose_routes_cannot_be_read_stays_with_the_api(
    device: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> str:
        raise RedirectError("no ip")

    monkeypatch.setattr(module.conflicts, "device_to", fails)
    async with linked(Transport.AUTO) as bench:
        await bench.shortcut.begin(bench.link, bench.group)
        assert bench.shortcut.transport is Transport.API


@pytest.mark.usefixtures("device")
async def test_link_that_is_to_go_by_the_api_does() -> None:
    async with linked(Transport.API) as bench:
        await bench.shortcut.begin(bench.link, bench.group)
        assert bench.shortcut.transport is Transport.API
        assert bench.cluster.agent._user.direct._server is None
