"""One pod whose traffic comes here, through an agent in it, for as long as the pod lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from towline.cluster.ephemeral import EphemeralAgent
from towline.errors import SessionError, TowlineError, leading_error
from towline.features.downlink.takeover import Wanted
from towline.features.local.delivery import Delivery
from towline.features.state import Narrator, SessionState
from towline.kube.errors import NotFound
from towline.link.link import Link
from towline.relay.peer import LinkLost, Peer

# So often at most another agent is tried.
RETRY_SECONDS = 5.0


class Links:
    """The links to several pods, as one session's: it is connected while all of them are up."""

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self._down: set[str] = set()

    def up(self, pod: str) -> None:
        """The link to a pod is up, or not wanted any more."""
        self._down.discard(pod)
        if not self._down:
            self._state.link_up()

    def down(self, pod: str, reason: str) -> None:
        """It is lost, and is being made anew."""
        self._down.add(pod)
        self._state.link_down(reason)

    def failing(self, reason: str) -> None:
        """It does not come up, for a reason that is news."""
        self._state.link_failing(reason)


class Injected:
    """One pod: :meth:`run` has its ports led here until it is cancelled.

    `new_agent` makes an agent that has not been started, `new_delivery` what brings here what
    comes to it, with tasks in that group.
    """

    def __init__(
        self,
        pod: str,
        new_agent: Callable[[], EphemeralAgent],
        new_delivery: Callable[[asyncio.TaskGroup], Delivery],
        wanted: Wanted,
        links: Links,
        tell: Narrator,
    ) -> None:
        self.pod = pod
        self.live = asyncio.Event()
        """Set when its ports come here for the first time."""
        self._new_agent = new_agent
        self._new_delivery = new_delivery
        self._wanted = wanted
        self._links = links
        self._tell = tell
        self._linked = False  # to the present agent, at least once
        self._lost = ""  # why the link was, until it is known whether the agent is gone, too

    async def run(self) -> None:
        """Hold the pod by one agent after the other, should one be lost.

        Returns when there is no pod any more. Raises SessionError when somebody else has taken
        it, and, until it has been live, TowlineError for whatever stands in the way.
        """
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._hold()
            except NotFound:
                return
            except SessionError:
                raise
            except TowlineError as error:
                if not self.live.is_set():
                    raise
                self._links.down(self.pod, error.summary)
                await asyncio.sleep(began + RETRY_SECONDS - loop.time())
            finally:
                self._lost = ""

    async def _hold(self) -> None:
        """Hold the pod by one agent until that is gone; raises TowlineError with the reason."""
        agent, self._linked = self._new_agent(), False
        # Only at first: who has taken it over since then is not to be driven out in turn.
        if self._wanted.force and not self.live.is_set():
            for tenant in await agent.tenants():
                await agent.dismiss(tenant)
        try:
            await agent.start(self._tell.progress, self._wanted.timeout_seconds)
            await self._serve(agent)
        except BaseExceptionGroup as failures:
            raise leading_error(failures) or failures from None
        finally:
            if not self._linked:
                await agent.stop()

    async def _serve(self, agent: EphemeralAgent) -> None:
        gone: asyncio.Future[TowlineError] = asyncio.get_running_loop().create_future()

        async def connect(factory: Callable[[], Peer]) -> tuple[asyncio.Transport, Peer]:
            await self._doubt(agent, gone)
            return await agent.connect(factory)

        async with asyncio.TaskGroup() as group:
            delivery = self._new_delivery(group)
            async with Link(
                connect, self, on_transport=delivery.claim, on_opened=delivery.opened
            ) as link:
                await link.first(self._wanted.timeout_seconds)
                await delivery.claimed()
                self._linked = True
                self.live.set()
                try:
                    raise await gone
                finally:
                    await delivery.finish()

    async def _doubt(self, agent: EphemeralAgent, gone: asyncio.Future[TowlineError]) -> None:
        """See whether the agent of a link that was lost is still there. Raises LinkLost if not."""
        if not self._lost:
            return
        failure = await agent.failure()
        if failure is None:
            self._links.down(self.pod, self._lost)
            return
        if not gone.done():
            gone.set_result(failure)
        raise LinkLost(failure.summary)

    # -- the link's observer

    def link_up(self) -> None:
        """It is up, for the first time or again."""
        self._lost = ""
        self._links.up(self.pod)

    def link_down(self, reason: str) -> None:
        """It is lost; so may be the agent, or the pod."""
        self._lost = reason

    def link_failing(self, reason: str) -> None:
        """It does not come up."""
        self._links.failing(reason)
