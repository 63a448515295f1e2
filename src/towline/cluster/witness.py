"""Learns how an agent's pod ends: soon Kubernetes removes it, and the reason with it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress

from towline.cluster import podstate
from towline.errors import TowlineError
from towline.kube.client import Client
from towline.kube.resources import PODS
from towline.kube.watch import EventType, watch

# A node tells about a second later what has become of a container.
LOOK_SECONDS = 10.0
# The API server tells all who look at a pod at about the same time.
TESTIFY_SECONDS = 2.0


class Witness:
    """Watches a pod for a while when it is in doubt, by :meth:`run`."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._asked = asyncio.Event()
        self._pod = ""
        self._end: asyncio.Future[TowlineError] | None = None  # once the pod is seen

    def look_at(self, pod: str) -> None:
        """The pod may have ended, or be about to."""
        if pod != self._pod:
            self._pod, self._end = pod, None
        self._asked.set()

    async def run(self) -> None:
        """Look, whenever asked to, for ever."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            with suppress(TowlineError, TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._watch(self._pod)

    def saw_end_of(self, pod: str) -> bool:
        """Whether a pod is known to be of no use any more."""
        return pod == self._pod and self._end is not None and self._end.done()

    async def testify(self, pod: str) -> TowlineError | None:
        """Why a pod that is of no use any more has ended; None if that was not seen."""
        if pod == self._pod and self._end is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(TESTIFY_SECONDS):
                    return await asyncio.shield(self._end)
        return None

    async def _watch(self, pod: str) -> None:
        """Return when the pod has ended, or is not there."""
        named = f"metadata.name={pod}"
        changes = watch(self._client, PODS, namespace=self._namespace, fields=named)
        async with aclosing(changes) as events:
            async for event in events:
                if pod != self._pod or (event.type is EventType.SYNCED and self._end is None):
                    return
                if event.type is EventType.SYNCED:
                    continue
                self._end = self._end or asyncio.get_running_loop().create_future()
                if (why := podstate.why_lost(event.object)) and not self._end.done():
                    self._end.set_result(why)
                if why:
                    return
