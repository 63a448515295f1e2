"""Brings what one client says by UDP to a program of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from towline.features.local.expose import LOCALHOST, LOOPBACKS
from towline.relay.datagramstream import DatagramStream
from towline.relay.splice import reason_of
from towline.relay.stream import Stream
from towline.relay.udp import ConnectedUdp
from towline.wire.frames import Reason
from towline.wire.target import Target

# A program that does not listen has been heard of by then: at once on this machine.
REFUSAL_SECONDS = 0.5
KEPT_BYTES = 128 * 1024
# What has not been answered by then needs no answer, or gets none.
ANSWER_SECONDS = 0.5


class UdpDelivery:
    """One client's datagrams; the stream is accepted when they have somewhere to go.

    That is with the first answer, or when no refusal comes soon: some programs never answer. A
    refusal ends the stream, so that the agent knows where else they belong, and `on_unserved()` is
    called. With `copy`, what the program answers is dropped. The agent ends the stream when it has
    been idle.
    """

    def __init__(
        self,
        stream: Stream,
        destination: Target,
        on_unserved: Callable[[], None],
        *,
        copy: bool,
    ) -> None:
        self._stream = DatagramStream(stream, self._said, self._over)
        self._destination = destination
        self._copy = copy
        self._on_unserved = on_unserved
        self._kept: list[bytes] = []
        self._room = KEPT_BYTES
        self._local: ConnectedUdp | None = None
        self._accepted = False
        self._asked: float | None = None  # loop time
        self._news: asyncio.Future[OSError | None]
        self._task: asyncio.Task[None] | None = None

    def end_if_answered(self) -> bool:
        """End it, unless the client has said something just now that has not been answered.

        The client's next datagram then comes to whoever has the port.
        """
        if self._stream.closed:
            return True
        now = asyncio.get_running_loop().time()
        if self._asked is not None and now - self._asked < ANSWER_SECONDS:
            return False
        self._stream.end(Reason.CANCELLED)
        self._over(None)
        return True

    async def run(self) -> None:
        """Find the program; what goes on afterwards needs no task."""
        if self._stream.closed:
            return
        self._task = asyncio.current_task()
        host = self._destination.host
        failure: OSError | None = None
        try:
            for address in LOOPBACKS if host == LOCALHOST else (host,):
                failure = await self._try(address)
                if failure is None:
                    break
        finally:
            self._task = None
        if failure is not None:
            self._give_up(failure)

    async def _try(self, host: str) -> OSError | None:
        """Send what has come to the program at an address, and return why there is none."""
        self._news = asyncio.get_running_loop().create_future()
        try:
            local = self._local = await ConnectedUdp.open(
                host, self._destination.port, self._answered, self._failed
            )
        except OSError as error:
            return error
        for datagram in self._kept:
            local.send(datagram)
        await asyncio.wait((self._news,), timeout=REFUSAL_SECONDS)
        failure = self._news.result() if self._news.done() else None
        if failure is None:
            self._accept()
        else:
            self._local = None
            local.close()
        return failure

    def _accept(self) -> None:
        if not self._accepted:
            self._accepted = True
            self._kept.clear()
            self._stream.accept()

    # -- the stream

    def _said(self, datagram: bytes) -> None:
        self._asked = asyncio.get_running_loop().time()
        if not self._accepted and len(datagram) <= self._room:
            self._room -= len(datagram)
            self._kept.append(datagram)
        if self._local is not None:
            self._local.send(datagram)

    def _over(self, _: Reason | None) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._local is not None:
            self._local.close()

    # -- the program

    def _answered(self, datagram: bytes) -> None:
        self._asked = None
        if not self._news.done():
            self._news.set_result(None)
        self._accept()
        if not self._copy:
            self._stream.send(datagram)

    def _failed(self, error: OSError) -> None:
        if not self._news.done():
            self._news.set_result(error)
        elif self._accepted and self._local is not None:
            self._local.close()
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._stream.end(reason_of(error))
        if isinstance(error, ConnectionRefusedError):
            self._on_unserved()
