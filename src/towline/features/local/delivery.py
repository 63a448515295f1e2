"""Brings the connections that come to the agent's ports to programs of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import cast
from weakref import WeakSet

from towline.errors import AgentError
from towline.features.local import expose
from towline.features.local.udpdelivery import UdpDelivery
from towline.relay.peer import Peer
from towline.relay.splice import Splice, reason_of
from towline.relay.stream import Stream
from towline.wire.frames import Buffer, Kind, Reason
from towline.wire.target import Claim, Incoming, Port, Protocol, Target

Preface = Callable[[Incoming], bytes]
"""What a program is told of a TCP connection, before what that says."""

FINISH_SECONDS = 5.0
# How often it is looked whether datagrams still wait for their answers.
LOOK_SECONDS = 0.02


class Delivery:
    """Claims ports of an agent, and joins what comes there to `destinations`, by port.

    Hand :meth:`claim` and :meth:`opened` to the link. Its tasks run in `group`. With `copy`, it
    gets what clients say to others, and what the programs here answer is dropped. `on_unserved` is
    called with a port when nothing listens at its destination, `on_claimed` whenever all ports are
    ours through one more transport.
    """

    def __init__(
        self,
        destinations: Mapping[Port, Target],
        group: asyncio.TaskGroup,
        *,
        copy: bool = False,
        preface: Preface | None = None,
        on_unserved: Callable[[Port], None] = lambda _: None,
        on_claimed: Callable[[], None] = lambda: None,
    ) -> None:
        self._destinations = destinations
        self._group = group
        self._copy = copy
        self._preface = preface
        self._on_unserved = on_unserved
        self._on_claimed = on_claimed
        self._claims: dict[Stream, tuple[Peer, Port]] = {}
        self._under_way: set[Stream] = set()
        self._flows: WeakSet[UdpDelivery] = WeakSet()
        self._finished = asyncio.Event()
        self._finishing = False
        self._claimed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def claimed(self) -> None:
        """Wait until the agent gives us the ports. Raises AgentError when it does not."""
        await asyncio.shield(self._claimed)

    def move(self, destinations: Mapping[Port, Target]) -> None:
        """Have others from now on: :meth:`claim` them anew. What is under way stays."""
        for stream in self._claims:
            stream.reset(Reason.CANCELLED)
        self._claims.clear()
        self._destinations = destinations
        self._claimed = asyncio.get_running_loop().create_future()

    def end_claims(self) -> None:
        """Take nothing new from now on."""
        self._finishing = True
        for stream in self._claims:
            stream.reset(Reason.CANCELLED)

    async def finish(self) -> None:
        """Take nothing new, and let what is under way end by itself, for `FINISH_SECONDS`.

        What a client says by UDP is under way until it is answered. Nobody waits for what becomes
        of a copy.
        """
        self.end_claims()
        if not self._copy:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._until_finished(), FINISH_SECONDS)

    def claim(self, peer: Peer) -> None:
        """Claim the ports through a transport that is up, but for those that we have by it."""
        if self._finishing:
            return
        self._claims = {each: what for each, what in self._claims.items() if not each.closed}
        held = {port for owner, port in self._claims.values() if owner is peer}
        missing = set(self._destinations) - held
        for port in tuple(missing):

            def accepted(port: Port = port) -> None:
                missing.discard(port)
                if not missing:
                    self._all_claimed()

            def refused(reason: Reason, port: Port = port) -> None:
                if reason is Reason.UNSUPPORTED and not self._claimed.done():
                    error = AgentError(f"The agent does not listen on port {port}.")
                    self._claimed.set_exception(error)

            claim = Claim(port, self._copy).encode()
            stream = peer.open(Kind.CLAIM, claim, _Claim(accepted, refused))
            self._claims[stream] = (peer, port)
        if not self._destinations:
            self._all_claimed()

    def _all_claimed(self) -> None:
        if not self._claimed.done():
            self._claimed.set_result(None)
        self._on_claimed()

    def opened(self, stream: Stream, kind: Kind, target: bytes) -> None:
        """Take a stream that the agent has opened: a connection for us."""
        if kind is not Kind.INCOMING:
            return
        try:
            incoming = Incoming.decode(target)
            port = incoming.port
            destination = self._destinations[port]
            preface = self._preface(incoming) if self._preface else b""
        except (ValueError, KeyError):
            stream.reset(Reason.UNSUPPORTED)
            return
        if port.protocol is Protocol.UDP:
            flow = UdpDelivery(
                stream, destination, lambda: self._on_unserved(port), copy=self._copy
            )
            self._flows.add(flow)
            self._group.create_task(flow.run(), name="deliver")
        else:
            self._join(stream, port, preface)

    async def _until_finished(self) -> None:
        if self._under_way:
            self._finished.clear()
            await self._finished.wait()
        while waiting := [flow for flow in self._flows if not flow.end_if_answered()]:
            self._flows = WeakSet(waiting)
            await asyncio.sleep(LOOK_SECONDS)

    def _join(self, stream: Stream, port: Port, preface: bytes) -> None:
        """Join a connection to a new one to its program."""

        def closed(_: Reason | None) -> None:
            """A stream that is given up takes its half-open connection with it."""
            delivering.cancel()
            self._under_way.discard(stream)
            if not self._under_way:
                self._finished.set()

        kind = _CopySplice if self._copy else _PrefacedSplice
        splice = kind(stream, preface, closed)
        self._under_way.add(stream)
        work = self._deliver(splice, port, self._destinations[port])
        delivering = self._group.create_task(work, name="deliver")

    async def _deliver(self, splice: Splice, port: Port, destination: Target) -> None:
        try:
            await expose.connect(lambda: splice, destination)
        except OSError as error:
            splice.reset(reason_of(error))
            if isinstance(error, ConnectionRefusedError):
                self._on_unserved(port)


class _PrefacedSplice(Splice):
    """Joins a program to a stream, and tells it something before what that says."""

    def __init__(
        self, stream: Stream, preface: bytes, on_closed: Callable[[Reason | None], None]
    ) -> None:
        super().__init__(stream, on_closed=on_closed)
        self._preface = preface

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with that."""
        cast("asyncio.Transport", transport).write(self._preface)
        super().connection_made(transport)


class _CopySplice(_PrefacedSplice):
    """Joins a program to a copy: nobody is there for its answers, but its end is waited for."""

    def data_received(self, data: bytes) -> None:
        """Drop it."""


class _Claim:
    """The handler of a stream of kind CLAIM: it carries nothing, and lasts with its transport."""

    def __init__(self, accepted: Callable[[], None], refused: Callable[[Reason], None]) -> None:
        self._accepted = accepted
        self._refused = refused

    def accepted(self) -> None:
        """The port is ours."""
        self._accepted()

    def data(self, data: Buffer) -> None:
        """Nothing is said on it."""

    def credit(self) -> None:
        """Nothing is to be sent."""

    def eof(self) -> None:
        """The agent keeps it until we end it."""

    def reset(self, reason: Reason) -> None:
        """The port is not, or no more, ours through this transport."""
        self._refused(reason)
