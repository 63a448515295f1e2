"""A client's and a server's Mux wired together, for tests."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from towline.wire.budget import Budget
from towline.wire.events import Data, Event
from towline.wire.frames import Kind
from towline.wire.mux import Mux
from towline.wire.windows import FIRST_GROWTH

WINDOW = 1000
FIRST = FIRST_GROWTH * WINDOW
MAX_WINDOW = 4 * FIRST


class Ends:
    """A client and a server, each with what it was told since last asked."""

    def __init__(self, budget: Budget | None = None, **limits: int) -> None:
        """`budget` is the server's; by default it has so little that windows but double."""
        limits = {"initial_window": WINDOW, "max_window": MAX_WINDOW} | limits
        self.budget = budget or Budget(2 * MAX_WINDOW)
        self.client = Mux(client=True, hello={"who": "client"}, **limits)
        self.server = Mux(client=False, hello={"who": "server"}, budget=self.budget, **limits)
        self.told = self.pass_on()

    def pass_on(self) -> tuple[list[Event], list[Event]]:
        """Carry what either has to say until both are silent; return the events of each."""
        client: list[Event] = []
        server: list[Event] = []
        while True:
            up, down = out(self.client), out(self.server)
            if not up and not down:
                return client, server
            server += self.server.receive(up)
            client += self.client.receive(down)

    def stream(self, kind: Kind = Kind.UDP) -> int:
        """An accepted stream that the client opened; no connection, unless asked for."""
        stream = self.client.open(kind, b"target")
        self.pass_on()
        self.server.accept(stream)
        self.pass_on()
        return stream


def out(end: Mux) -> bytes:
    """What an end has to send."""
    return b"".join(end.take_output())


def data_of(events: Iterable[Event]) -> bytes:
    """The bytes of all Data events."""
    return b"".join(bytes(event.data) for event in events if isinstance(event, Data))


def raw(kind: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame, whether a peer may send it or not."""
    return struct.pack("!II", kind << 24 | len(payload), stream) + payload
