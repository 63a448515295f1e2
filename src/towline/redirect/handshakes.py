"""Connections that are being made: each SYN to an unknown destination waits for its own dial.

What the dial says is what connect() will say. A dial's stream is not wasted: the connection
that follows takes it, or, when the program has given up meanwhile, the next one to the same
destination.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from towline.errors import RedirectError
from towline.redirect.errors import DialError, Reason
from towline.redirect.listener import Flow, reset
from towline.redirect.packets import IPAddress, Segment

if TYPE_CHECKING:
    from towline.redirect.messages import Answer

# A program that is still there has its connection within milliseconds of the dial's success.
TAKE_SECONDS = 5.0
# The kernel sends a SYN again after a second, and then in intervals that at most double, for as
# long as the program waits (tcp(7), tcp_syn_retries).
_FIRST_REPEAT_SECONDS = 1.0
_REPEAT_MARGIN_SECONDS = 1.5
# SYNs beyond this are left to their sender's next attempt, a second later.
_MAX_HANDSHAKES = 8192

_ANSWERS: dict[Reason, Answer] = {
    Reason.REFUSED: "reset",
    Reason.HOST_UNREACHABLE: "host",
    Reason.NET_UNREACHABLE: "net",
}


class Stream(Protocol):
    """What a dial gives: a stream that is open to the destination, with nothing sent yet."""

    def abort(self) -> None:
        """Close it at once: nobody came for it."""


class Gate(Protocol):
    """What a handshake asks of the kernel: see :class:`~towline.redirect.control.Redirect`.

    Its methods may raise RedirectError.
    """

    async def admit(self, syn: Segment) -> None:
        """Open the SYN's destination, and let this SYN reach the listener."""

    async def refuse(self, segment: Segment, answer: Answer) -> None:
        """Answer a segment in its destination's place."""

    async def forget(self, address: IPAddress, port: int) -> None:
        """Close a destination again."""


S = TypeVar("S", bound=Stream)
Dial = Callable[[IPAddress, int], Awaitable[S]]
Accept = Callable[[socket.socket, IPAddress, int, S | None], None]


@dataclass(slots=True, eq=False)
class _Handshake(Generic[S]):
    """A SYN that is waiting: first `task` runs its dial, then `stream` waits for its taker.

    `seen` is the loop's time of the last SYN, `interval` the longest between two of them; when
    the next one is overdue, `patience` ends. `connection` is there when the program's next SYN
    was faster than the dial, since another handshake had opened the destination.
    """

    syn: Segment
    seen: float
    interval: float = _FIRST_REPEAT_SECONDS
    patience: asyncio.TimerHandle | None = None
    task: asyncio.Task[None] | None = None
    connection: socket.socket | None = None
    stream: S | None = None
    expiry: asyncio.TimerHandle | None = None


class Handshakes(Generic[S]):
    """Dials for SYNs, tells their senders the outcome, and joins connections to dialled streams.

    Dials run as tasks of `group`. A stream that nobody took is aborted after `take_seconds`.
    """

    def __init__(
        self,
        gate: Gate,
        group: asyncio.TaskGroup,
        dial: Dial[S],
        accept: Accept[S],
        *,
        take_seconds: float = TAKE_SECONDS,
    ) -> None:
        self._take_seconds = take_seconds
        self._gate = gate
        self._group = group
        self._dial = dial
        self._accept = accept
        self._loop = asyncio.get_running_loop()
        self._all: dict[Flow, _Handshake[S]] = {}
        # Streams that wait to be taken, by destination, the oldest first.
        self._ready: dict[tuple[IPAddress, int], dict[Flow, _Handshake[S]]] = {}

    def __len__(self) -> int:
        """Count the SYNs that wait for their dial, and the streams that wait to be taken."""
        return len(self._all)

    def syn(self, segment: Segment) -> None:
        """Begin a handshake, unless this is the SYN of one that is under way, sent once more."""
        flow = _flow(segment)
        if handshake := self._all.get(flow):
            self._keep_waiting(flow, handshake)
            return
        if len(self._all) >= _MAX_HANDSHAKES:
            return
        handshake = self._all[flow] = _Handshake[S](segment, self._loop.time())
        self._keep_waiting(flow, handshake)
        handshake.task = spawn(self._group, self._run(flow, handshake))
        if handshake.task is None:
            self._drop(flow, handshake)

    def arrived(self, connection: socket.socket, flow: Flow) -> None:
        """Hand a redirected connection on, with the stream that was dialled for it."""
        handshake = self._all.get(flow)
        if handshake and handshake.stream is None:
            if handshake.connection:  # the program has given up that one and uses its port again
                reset(handshake.connection)
            handshake.connection = connection
            return
        if handshake is None:
            # Conntrack changes the source port when two connections would look the same to the
            # listener; and a stream whose program has gone serves as well as a new one.
            ready = self._ready.get((flow.destination, flow.port))
            flow, handshake = next(iter(ready.items())) if ready else (flow, None)
        stream = None
        if handshake:
            stream = handshake.stream
            self._drop(flow, handshake)
        self._accept(connection, flow.destination, flow.port, stream)

    def close(self) -> None:
        """Give up all dials and streams. Idempotent."""
        for flow, handshake in list(self._all.items()):
            if handshake.task:
                handshake.task.cancel()
            if handshake.connection:
                reset(handshake.connection)
            if handshake.stream:
                handshake.stream.abort()
            self._drop(flow, handshake)

    def _keep_waiting(self, flow: Flow, handshake: _Handshake[S]) -> None:
        """The program is there: go on until its next SYN is overdue."""
        now = self._loop.time()
        handshake.interval = max(now - handshake.seen, handshake.interval)
        handshake.seen = now
        if handshake.patience:
            handshake.patience.cancel()
        due = 2 * handshake.interval + _REPEAT_MARGIN_SECONDS
        handshake.patience = self._loop.call_later(due, self._give_up, flow, handshake)

    def _give_up(self, flow: Flow, handshake: _Handshake[S]) -> None:
        """Nobody waits for this dial any more."""
        if self._all.get(flow) is handshake and not (handshake.stream or handshake.connection):
            self._drop(flow, handshake)
            if handshake.task:
                handshake.task.cancel()

    async def _run(self, flow: Flow, handshake: _Handshake[S]) -> None:
        try:
            stream = await self._dial(flow.destination, flow.port)
        except DialError as error:
            self._drop(flow, handshake)
            with suppress(RedirectError):  # the session learns of it from `lost`
                await self._tell_failure(flow, handshake, error.reason)
            return
        if handshake.connection:
            self._drop(flow, handshake)
            self._accept(handshake.connection, flow.destination, flow.port, stream)
            return
        self._offer(flow, handshake, stream)
        try:
            await self._gate.admit(handshake.syn)
        except RedirectError:
            self._expire(flow, handshake)

    async def _tell_failure(self, flow: Flow, handshake: _Handshake[S], reason: Reason) -> None:
        if handshake.connection:
            reset(handshake.connection)
            await self._gate.forget(flow.destination, flow.port)
        elif answer := _ANSWERS.get(reason):
            await self._gate.refuse(handshake.syn, answer)

    def _offer(self, flow: Flow, handshake: _Handshake[S], stream: S) -> None:
        handshake.stream = stream
        handshake.expiry = self._loop.call_later(self._take_seconds, self._expire, flow, handshake)
        self._ready.setdefault((flow.destination, flow.port), {})[flow] = handshake

    def _expire(self, flow: Flow, handshake: _Handshake[S]) -> None:
        if self._all.get(flow) is handshake and handshake.stream:
            self._drop(flow, handshake)
            handshake.stream.abort()

    def _drop(self, flow: Flow, handshake: _Handshake[S]) -> None:
        if self._all.get(flow) is not handshake:
            return
        del self._all[flow]
        for timer in (handshake.expiry, handshake.patience):
            if timer:
                timer.cancel()
        ready = self._ready.get((flow.destination, flow.port), {})
        ready.pop(flow, None)
        if not ready:
            self._ready.pop((flow.destination, flow.port), None)


def spawn(
    group: asyncio.TaskGroup, running: Coroutine[Any, Any, None]
) -> asyncio.Task[None] | None:
    """Run a coroutine in a group; None when the group is ending, which takes no more tasks."""
    try:
        return group.create_task(running)
    except RuntimeError:
        running.close()
        return None


def _flow(segment: Segment) -> Flow:
    packet = segment.packet
    return Flow(packet.source, segment.source_port, packet.destination, segment.destination_port)
