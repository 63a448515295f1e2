"""A stream to somewhere in the cluster, until it is known whether anybody accepts it there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from towline.relay.splice import Splice
from towline.relay.stream import Stream
from towline.wire.frames import Reason


class Dialled(Splice):
    """A stream that this session has opened, and that is joined to nothing yet.

    `on_ended()` is called once, when nothing is left of it or of what it was joined to.
    """

    def __init__(self, stream: Stream, on_ended: Callable[[], None] = lambda: None) -> None:
        self._answer: asyncio.Future[Reason | None] = asyncio.get_running_loop().create_future()
        super().__init__(
            stream,
            on_accepted=lambda: self._decide(None),
            on_closed=self._end,
        )
        self._on_ended = on_ended

    async def answer(self) -> Reason | None:
        """Wait for it: None if it is accepted. Who waits no longer ends it."""
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self) -> None:
        """Nobody is there for it: end it."""
        self.reset(Reason.CANCELLED)

    def _end(self, reason: Reason | None) -> None:
        self._on_ended()
        self._decide(reason or Reason.RESET)

    def _decide(self, reason: Reason | None) -> None:
        if not self._answer.done():
            self._answer.set_result(reason)
