"""Keeps a few parallel transports to one agent up and spreads streams over them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from towline import __version__
from towline.errors import AgentError, HopelessError, TowlineError
from towline.kube.errors import ConnectionFailed, ServerError, TooManyRequests
from towline.kube.streams import PortForwardError
from towline.link.awakening import Awakening
from towline.relay.peer import LinkLost, Peer
from towline.relay.stream import Stream
from towline.wire.budget import Budget
from towline.wire.frames import Buffer, Kind, ProtocolError
from towline.wire.mux import Mux

log = logging.getLogger(__name__)

# A second transport lets new flows pass by one that a bulk transfer fills, and flows go on
# when one is lost.
TRANSPORTS = 2
# One that is silent is replaced, but not given up: when the network is back within DEAD_SECONDS
# its flows go on. So many of them are kept for each that is wanted.
MOST_SILENT = 2
PING_SECONDS = 2.0
HELLO_SECONDS = 10.0
FIRST_RETRY_SECONDS = 0.1
# Without a network a try costs nothing, and is to find it soon when it is back. What else stands
# against it, such as a sign-in that has ended, is left in peace for longer.
LAST_RETRY_SECONDS = 1.0
LAST_RETRY_OF_OTHERS_SECONDS = 5.0
# So often a transport that others replace is looked at, whether it is needed no more.
SEE_OUT_SECONDS = 1.0
# What passes so soon is not worth a word; an agent that has just started does not listen yet.
QUIET_SECONDS = 2.0
STARTING_SECONDS = 10.0

# What may pass by itself before there has been a link; afterwards all may.
TRANSIENT = (ConnectionFailed, ServerError, TooManyRequests, PortForwardError, LinkLost, OSError)

Connect = Callable[[Callable[[], Peer]], Awaitable[tuple[asyncio.Transport, Peer]]]

OnOpened = Callable[[Stream, Kind, bytes], None]
"""Called for each stream that the agent opens, as :class:`~towline.relay.peer.Peer` says."""


class Observer(Protocol):
    """Who is told when the link comes and goes."""

    def link_up(self) -> None:
        """The first of the transports is up."""

    def link_down(self, reason: str) -> None:
        """The last of the transports is lost, or none answers; they are being replaced."""

    def link_failing(self, reason: str) -> None:
        """There is no link, and a try to make one has failed in a way that was not told yet."""


class Link:
    """The link to one agent, as an async context manager: inside, it is up or coming back.

    `connect` makes a transport to the agent, wherever that is now. Until the link has been up
    once, an error of it that will not pass by itself ends the context with that error. After
    that it is tried again whatever it says, but for a HopelessError: a laptop that wakes up
    without a network, or a node that turns a new agent away, is no reason to end a session.
    `hello` is told to the agent on each transport, and `on_transport` of each that has come up.
    """

    def __init__(
        self,
        connect: Connect,
        observer: Observer,
        *,
        hello: Mapping[str, object] | None = None,
        transports: int = TRANSPORTS,
        on_transport: Callable[[Peer], None] | None = None,
        on_opened: OnOpened | None = None,
    ):
        self._connect = connect
        self._observer = observer
        self._hello = {"version": __version__, **(hello or {})}
        self._on_transport = on_transport
        self._on_opened = on_opened
        self._wanted = transports
        self._budget = Budget()
        self._peers: list[Peer] = []
        self._gone_received = self._gone_sent = 0
        self._changed = _Pulse()
        self._awakened = _Pulse()
        self._up = asyncio.Event()
        self._been_up = False
        self._failure: Exception | None = None
        self._failures: dict[str, float] = {}  # when each was first met, in loop time
        self._told: set[str] = set()
        self._goodbye = True
        self._retired: set[Peer] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = contextlib.AsyncExitStack()
        self.agent: Mapping[str, object] = {}
        """What the agent says of itself, as of the newest transport."""

    async def __aenter__(self) -> Link:
        self._stack.callback(Awakening(self._look_again).close)
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._tasks = [
            self._group.create_task(self._keep(first=n == 0)) for n in range(self._wanted)
        ]
        self._stack.callback(lambda: [task.cancel() for task in self._tasks])
        return self

    async def __aexit__(self, *details: Any) -> bool | None:
        # The agent that hears this ends instead of waiting for us to come back.
        for peer in list(self._peers):
            if self._goodbye:
                peer.go_away("the session ends")
            peer.close()
        return await self._stack.__aexit__(*details)

    def retire(self, which: Callable[[Peer], bool]) -> None:
        """Let others take the place of some transports, which go on until their streams end."""
        for peer in self._peers:
            if peer not in self._retired and which(peer):
                self._retired.add(peer)
                self._tasks.append(self._group.create_task(self._see_out(peer)))
                self._tasks[-1].add_done_callback(self._tasks.remove)
        self._changed.beat()

    def abandon(self) -> None:
        """Let the agent believe at the end that we may come back."""
        self._goodbye = False

    async def first(self, seconds: float) -> None:
        """Wait until the link is up for the first time.

        Raises AgentError, with what the last try came to, when it is not within `seconds`.
        """
        try:
            await self.ready(seconds)
        except LinkLost:
            raise AgentError(
                f"The agent runs, but there has been no link to it within {seconds:.0f} s: "
                f"{self._failure or 'it does not answer'}",
                "The link goes through the API server to the kubelet of the agent's node, as "
                "'kubectl logs' and 'kubectl port-forward' do: see whether those work.",
            ) from self._failure

    async def ready(self, seconds: float | None = None) -> None:
        """Wait until at least one transport is up; raises LinkLost after `seconds` without."""
        try:
            async with asyncio.timeout(seconds):
                await self._up.wait()
        except TimeoutError:
            raise LinkLost("the link to the agent is down") from None

    @property
    def up(self) -> bool:
        """Whether a stream can be opened now."""
        return self._up.is_set()

    @property
    def streams(self) -> int:
        """How many flows there are, over all transports."""
        return sum(len(peer.streams) for peer in self._peers)

    @property
    def received(self) -> int:
        """Bytes that have come since the beginning, over all transports."""
        return self._gone_received + sum(peer.received for peer in self._peers)

    @property
    def sent(self) -> int:
        """Bytes that have been sent since the beginning, over all transports."""
        return self._gone_sent + sum(peer.sent for peer in self._peers)

    @property
    def round_trip(self) -> float | None:
        """Seconds to the agent and back, as last measured while it was quiet; None before that."""
        return min((peer.round_trip for peer in self._peers if peer.round_trip), default=None)

    @property
    def peer(self) -> Peer:
        """The transport with the fewest streams of those that answer. Raises LinkLost without."""
        answering = self._answering(self._peers)
        if not answering:
            raise LinkLost("the link to the agent is down")
        # Those that are retired, only while no other has taken their place.
        return min(answering, key=lambda peer: (peer in self._retired, len(peer.streams)))

    def open(self, kind: Kind, target: bytes, *, data: Buffer = b"") -> Stream:
        """Open a stream on the least busy transport, with `data` at once. Raises LinkLost."""
        return self.peer.open(kind, target, data=data)

    @staticmethod
    def _answering(peers: list[Peer]) -> list[Peer]:
        return [peer for peer in peers if not (peer.silent or peer.lost)]

    async def _keep(self, *, first: bool) -> None:
        """Keep one transport up. All but the first wait until the link has proved to work."""
        delay = FIRST_RETRY_SECONDS
        held: list[Peer] = []
        while True:
            held = self._kept(held)
            if self._answering(held):
                await self._changed.wait()
                continue
            if not first:
                await self._up.wait()
            try:
                held.append(await self._establish())
                delay = FIRST_RETRY_SECONDS
            except (TowlineError, LinkLost, OSError) as error:
                passes = self._been_up or isinstance(error, TRANSIENT)
                if isinstance(error, HopelessError) or not passes:
                    raise
                delay = await self._rest(delay, error)

    async def _rest(self, delay: float, error: Exception) -> float:
        """Wait until the next try; gives for how long to wait when that fails, too."""
        log.info("no transport to the agent, next try in %.1f s: %s", delay, error)
        self._note(error)
        if await self._awakened.wait(delay):
            return FIRST_RETRY_SECONDS
        last = LAST_RETRY_SECONDS if isinstance(error, TRANSIENT) else LAST_RETRY_OF_OTHERS_SECONDS
        return min(delay * 2, last)

    def _kept(self, held: list[Peer]) -> list[Peer]:
        """Those that are not lost; of those that are silent the last ones alone.

        One that has been replaced and is heard again after all ends with its streams.
        """
        if spare := self._answering(held)[:-1]:
            self.retire(lambda peer: peer in spare)
        held = [peer for peer in held if peer in self._peers and peer not in self._retired]
        silent = [peer for peer in held if peer.silent]
        for peer in silent[:-MOST_SILENT]:
            peer.abort(LinkLost("nothing was heard, and others took its place"))
        return [peer for peer in held if not peer.lost]

    async def _establish(self) -> Peer:
        """One transport, with the agent's hello on it."""

        def make() -> Peer:
            return Peer(
                Mux(client=True, hello=self._hello, budget=self._budget),
                on_opened=self._on_opened,
                on_silence=lambda _: self._look("nothing is heard from the agent"),
                on_lost=lambda error: self._remove(peer, error),
                ping_seconds=PING_SECONDS,
            )

        _, peer = await self._connect(make)
        self.agent = await _hello(peer)
        if not peer.lost:
            self._add(peer)
        return peer

    async def _see_out(self, peer: Peer) -> None:
        while peer.streams and not peer.lost:
            await self._changed.wait(SEE_OUT_SECONDS)
        peer.close()

    def _add(self, peer: Peer) -> None:
        self._peers.append(peer)
        if self._on_transport:
            self._on_transport(peer)
        self._look("")

    def _remove(self, peer: Peer, error: BaseException | None) -> None:
        if peer not in self._peers:
            return
        self._peers.remove(peer)
        self._gone_received += peer.received
        self._gone_sent += peer.sent
        self._retired.discard(peer)
        self._look(str(error) if error else "the agent closed it")

    def _look(self, reason: str) -> None:
        """Some transport has come, gone, fallen silent or is heard again: say what follows."""
        self._changed.beat()
        up = bool(self._answering(self._peers))
        if up and not self._up.is_set():
            self._been_up = True
            self._failures.clear()
            self._told.clear()
            self._up.set()
            self._observer.link_up()
        elif not up and self._up.is_set():
            self._up.clear()
            self._observer.link_down(reason)

    def _look_again(self) -> None:
        """The network has changed, or this machine was asleep: what was true may not be."""
        for peer in list(self._peers):
            peer.probe()
        self._awakened.beat()

    def _note(self, error: Exception) -> None:
        self._failure = error
        now = asyncio.get_running_loop().time()
        is_starting = isinstance(error, PortForwardError) and error.refused
        # Names of pods, ports and times differ from try to try, and say nothing new: unless each
        # pod is another agent, which has its own time to start.
        gist = str(error) if is_starting else re.sub(r"\S*\d\S*", "", str(error))
        lasts = now - self._failures.setdefault(gist, now)
        patience = STARTING_SECONDS if is_starting else QUIET_SECONDS
        if not self.up and lasts >= patience and gist not in self._told:
            self._told.add(gist)
            self._observer.link_failing(str(error))


class _Pulse:
    """Something that happens again and again, and can be waited for."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def beat(self) -> None:
        """It happens now."""
        self._event.set()
        self._event.clear()

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait until it happens next; False when it does not within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                return await self._event.wait()
        except TimeoutError:
            return False


async def _hello(peer: Peer) -> Mapping[str, object]:
    """What the agent says of itself; the transport is gone when that fails."""
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            return (await peer.ready()).properties
    except ProtocolError as error:
        raise AgentError(
            f"What answers in the agent's pod is not an agent of this version: {error}"
        ) from error
    except TimeoutError:
        peer.abort()
        raise LinkLost("the agent does not say hello") from None
    except asyncio.CancelledError:
        peer.abort()
        raise
