"""Connects a stream to where it wants to go."""

from __future__ import annotations

import asyncio

from towline.relay.outbox import Allowance
from towline.relay.splice import Splice, reason_of
from towline.relay.stream import Stream
from towline.wire.frames import Reason
from towline.wire.target import Target


class Dial:
    """A TCP connection from this pod for one stream; whatever comes of it, the stream is told."""

    def __init__(self, stream: Stream, target: bytes, allowance: Allowance | None) -> None:
        self._task: asyncio.Task[None] | None = None
        self._target = target
        self._splice = Splice(stream, on_closed=self._on_closed, allowance=allowance)

    async def run(self) -> None:
        """Connect, or reset the stream with the reason why not."""
        self._task = asyncio.current_task()
        try:
            target = Target.decode(self._target)
            await asyncio.get_running_loop().create_connection(
                lambda: self._splice, target.host, target.port
            )
        except ValueError:
            self._splice.reset(Reason.UNSUPPORTED)
        except OSError as error:
            self._splice.reset(reason_of(error))
        finally:
            self._task = None

    def _on_closed(self, _: Reason | None) -> None:
        # A stream that is given up takes its half-open connection with it.
        if self._task is not None:
            self._task.cancel()
