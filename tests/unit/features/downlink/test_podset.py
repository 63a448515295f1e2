"""Which pods a session holds, as they come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from towline.features.downlink.injected import Injected, Links
from towline.features.downlink.podset import PodSet
from towline.features.state import SessionState
from towline.kube.config import Access
from towline.kube.watch import EventType, WatchEvent

SECONDS = 20.0


class Told:
    """A user to whom nothing matters."""

    def progress(self, message: str) -> None: ...

    def event(self, name: str, message: str, **data: Any) -> None: ...


class Pod:
    """One that is held: it lives until `gone`; live from the beginning if it `works`."""

    def __init__(self, name: str, *, works: bool = True) -> None:
        self.pod = name
        self.live = asyncio.Event()
        self.gone = asyncio.Event()
        if works:
            self.live.set()

    async def run(self) -> None:
        await self.gone.wait()


def pod(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"phase": "Running"}}


@asynccontextmanager
async def holding(*pods: Pod) -> AsyncIterator[PodSet]:
    by_name = {each.pod: each for each in pods}
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        state = SessionState("exchange", cast("Access", None), Told(), lambda: None, lambda: "")
        found = PodSet(
            group,
            lambda each: cast("Injected", by_name[each["metadata"]["name"]]),
            Links(state),
            Told(),
        )
        yield found
        found.cancel()


async def test_pod_that_is_gone_before_it_is_live_holds_nothing_up() -> None:
    stays, leaves = Pod("stays"), Pod("leaves", works=False)
    leaves.gone.set()
    async with holding(stays, leaves) as pods:
        await pods.take([pod("leaves"), pod("stays")])
        assert pods.live == ["stays"]


async def test_last_pod_whose_leaving_was_not_seen_is_missed() -> None:
    only = Pod("only")
    async with holding(only) as pods:
        await pods.take([pod("only")])
        only.gone.set()
        await pods.none_left()
        assert pods.live == []


async def test_pod_that_comes_again_under_its_name_is_held_again() -> None:
    again = Pod("again")

    async def events() -> AsyncGenerator[WatchEvent, None]:
        yield WatchEvent(EventType.DELETED, pod("again"))
        yield WatchEvent(EventType.ADDED, pod("again"))

    async with holding(again) as pods:
        await pods.take([pod("again")])
        await pods.follow(events())
        assert pods.live == ["again"]
