"""Who gets what comes to a port of this pod."""

from __future__ import annotations

import asyncio
from typing import Callable

from towline.relay.peer import LinkLost, Peer
from towline.relay.stream import Stream
from towline.wire.frames import Buffer, Kind, Reason
from towline.wire.target import Incoming, Port, Target

# A session that is well answers within a round trip and a local connect.
ACCEPT_SECONDS = 3.0


class Claims:
    """The transports of sessions that claim a port.

    `changed` is called when there are some, and with False when there are none any more.
    """

    def __init__(self, port: Port) -> None:
        self.changed: Callable[[bool], None] = lambda _: None
        self._port = port
        self._claims: dict[Stream, tuple[Peer, bool]] = {}
        self._last = asyncio.get_running_loop().time()

    @property
    def idle_seconds(self) -> float:
        """For how long nobody has claimed it, since the last one or since there is this."""
        return 0.0 if self._claims else asyncio.get_running_loop().time() - self._last

    def add(self, peer: Peer, stream: Stream, *, copy: bool) -> None:
        """Let a peer have what comes, or copies, from now on for as long as its stream lasts."""
        if not self._claims:
            self.changed(True)
        self._claims[stream] = (peer, copy)
        stream.handler = _Claim(lambda: self._forget(stream))
        stream.accept()

    def _forget(self, stream: Stream) -> None:
        claim = self._claims.pop(stream, None)
        self._last = asyncio.get_running_loop().time()
        if claim and not self._claims:
            self.changed(False)

    def end(self) -> None:
        """Let nobody have it any more."""
        for stream in self._claims:
            stream.reset(Reason.GOING_AWAY)
        self._claims.clear()

    def offer(self, client: Target, *, copy: bool = False) -> Stream | None:
        """A stream for a client to the claimant with the least to do, if there is one.

        Its handler is to be set before control returns to the event loop. For a `copy`, it goes to
        a claimant that wants one.
        """
        peers = {peer for peer, copies in self._claims.values() if copies == copy}
        for peer in sorted(peers, key=lambda peer: len(peer.streams)):
            try:
                return peer.open(Kind.INCOMING, Incoming(self._port, client).encode())
            except LinkLost:
                continue
        return None


class _Claim:
    """The handler of a stream of kind CLAIM, which carries nothing and ends."""

    def __init__(self, ended: Callable[[], object]) -> None:
        self._ended = ended

    def accepted(self) -> None:
        """It is the other end's stream."""

    def data(self, data: Buffer) -> None:
        """Nothing is to be said."""

    def credit(self) -> None:
        """Nothing is to be sent."""

    def eof(self) -> None:
        """The claim is given up."""
        self._ended()

    def reset(self, reason: Reason) -> None:
        """The claim is given up, or its session is gone."""
        self._ended()
