"""The pods that a session holds: those that there are, and those that come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

from towline.errors import TowlineError
from towline.features.downlink.injected import Injected, Links
from towline.features.first import first
from towline.features.state import Narrator
from towline.kube.resources import Object
from towline.kube.watch import EventType, WatchEvent


def runs(pod: Object) -> bool:
    """Whether a pod has got to its node, and is not about to leave it."""
    status = pod.get("status", {})
    return status.get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]


class PodSet:
    """Holds pods by what `make` gives for each of them, in tasks of `group`."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        make: Callable[[Object], Injected],
        links: Links,
        tell: Narrator,
    ) -> None:
        self._group = group
        self._make = make
        self._links = links
        self._tell = tell
        self._held: dict[str, Injected] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._none = asyncio.Event()

    @property
    def live(self) -> list[str]:
        """The names of the pods whose traffic comes here."""
        return sorted(name for name, each in self._held.items() if each.live.is_set())

    async def take(self, pods: Sequence[Object]) -> None:
        """Hold pods, and wait until the traffic of all of them comes here that stay.

        What is the matter with one of them ends the group.
        """
        started = []
        for pod in pods:
            held = self._held[pod["metadata"]["name"]] = self._make(pod)
            started.append((held, self._start(held, self._hold(held))))
        for held, task in started:
            await first(held.live.wait(), _end_of(task))

    async def follow(self, events: AsyncGenerator[WatchEvent, None]) -> None:
        """Hold the pods that come, and let go those that leave; until cancelled."""
        async with aclosing(events):
            async for event in events:
                if event.type is EventType.SYNCED:
                    continue
                name = event.object["metadata"]["name"]
                if event.type is EventType.DELETED or not runs(event.object):
                    self._let_go(name)
                elif name not in self._held:
                    held = self._held[name] = self._make(event.object)
                    self._start(held, self._welcome(held))

    async def none_left(self) -> None:
        """Wait until one has left and there is no other."""
        await self._none.wait()

    def cancel(self) -> None:
        """Let all go."""
        for task in self._tasks.values():
            task.cancel()

    async def _hold(self, held: Injected) -> None:
        """Hold a pod until it is gone, whether or not its leaving has been seen."""
        await held.run()
        if self._held.get(held.pod) is held:
            self._let_go(held.pod)

    async def _welcome(self, held: Injected) -> None:
        """Hold a pod that has come; the session goes on without it if that cannot be."""
        self._tell.progress(f"The pod {held.pod} has come")
        try:
            await self._hold(held)
        except TowlineError as error:
            if held.live.is_set():
                raise
            self._tell.event("note", f"The pod {held.pod} is not led here: {error}")

    def _start(self, held: Injected, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks[held.pod] = self._group.create_task(work, name=f"pod {held.pod}")
        return task

    def _let_go(self, name: str) -> None:
        if self._held.pop(name, None) is None:
            return
        self._tasks.pop(name).cancel()
        self._links.up(name)
        if not self._held:
            self._none.set()


async def _end_of(task: asyncio.Task[None]) -> None:
    """Wait for a task, and leave it alone."""
    await asyncio.wait((task,))
