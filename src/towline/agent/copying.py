"""A copy of what a client says, for a session, while the connection itself goes elsewhere."""

from __future__ import annotations

from towline.agent.passing import Passing
from towline.agent.underway import Underway
from towline.relay.outbox import Allowance, Outbox
from towline.relay.stream import Stream
from towline.wire.frames import Buffer, Reason

# How far a copy may lag: requests of some MiB come whole although the link is slower than the
# cluster's network.
LAG_BYTES = 8 * 1024 * 1024


class Copy:
    """The handler of a stream that gets what a client says. Nothing ever waits for it.

    One that lags too far is given up: what has gaps is no copy.
    """

    def __init__(self, stream: Stream, allowance: Allowance) -> None:
        stream.handler = self
        self._stream = stream
        self._outbox = Outbox(stream, LAG_BYTES, allowance)

    def write(self, data: Buffer) -> None:
        """Say it once more."""
        if not self._outbox.put(data):
            self.give_up(Reason.EXHAUSTED)

    def write_eof(self) -> None:
        """The client says no more."""
        self._outbox.put_eof()

    def give_up(self, reason: Reason) -> None:
        """End it at once."""
        self._outbox.clear()
        self._stream.reset(reason)

    # -- StreamHandler

    def accepted(self) -> None:
        """It was not waited for."""

    def data(self, data: Buffer) -> None:
        """A session keeps answers to itself."""
        self._stream.consumed(len(data))

    def eof(self) -> None:
        """There are no answers."""

    def credit(self) -> None:
        """Send what waits."""
        self._outbox.push()

    def reset(self, reason: Reason) -> None:
        """The session does not want it, or is gone."""
        self._outbox.clear()


class CopiedPassing(Passing):
    """A client whose connection passes by, and whose words are copied."""

    def __init__(
        self, copy: Copy, underway: Underway, early: Buffer = b"", eof: bool = False
    ) -> None:
        super().__init__(underway, early, eof)
        self._copy = copy
        copy.write(early)
        if eof:
            copy.write_eof()

    def data_received(self, data: bytes) -> None:
        """Pass it on, and copy it."""
        super().data_received(data)
        self._copy.write(data)

    def eof_received(self) -> bool:
        """Pass it on, and copy it."""
        self._copy.write_eof()
        return super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the copy as well, unless the client has ended in order: that has been told."""
        super().connection_lost(exc)
        if exc is not None or not self._eof:
            self._copy.give_up(Reason.RESET)
