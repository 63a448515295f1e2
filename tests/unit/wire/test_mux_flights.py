"""How many round trips of a path without any other limit a transfer takes."""

from __future__ import annotations

import pytest

from tests.unit.wire.muxends import Ends, out
from towline.wire.budget import Budget
from towline.wire.events import Accepted, Credit, Data
from towline.wire.frames import Kind
from towline.wire.mux import INITIAL_WINDOW, MAX_WINDOW, Mux

# What is read from a socket at once, and what is sent in one turn.
PIECE_BYTES = 64 * 1024


class Way:
    """A stream by which one end sends bytes that the other reads at once."""

    def __init__(self, sender: Mux, receiver: Mux, stream: int, size: int) -> None:
        self._sender = sender
        self._receiver = receiver
        self._stream = stream
        self._unsent = self._unread = size

    def round_trips(self) -> float:
        """Those until all is read, counted from when the sender begins."""
        self._send()
        trips = 0.5
        while True:
            self._read()
            if not self._unread:
                return trips
            self._hear()
            trips += 1

    def _send(self) -> None:
        while size := min(self._unsent, self._sender.credit(self._stream), PIECE_BYTES):
            self._sender.send(self._stream, bytes(size))
            self._unsent -= size

    def _read(self) -> None:
        come = out(self._sender)
        for pos in range(0, len(come), PIECE_BYTES):
            for event in self._receiver.receive(come[pos : pos + PIECE_BYTES]):
                if isinstance(event, Data):
                    self._receiver.consumed(self._stream, len(event.data))
                    self._unread -= len(event.data)

    def _hear(self) -> None:
        for event in self._sender.receive(out(self._receiver)):
            if isinstance(event, (Accepted, Credit)):
                self._send()


def round_trips(size: int, *, up: bool) -> float:
    """From the opening of a stream to the last byte of what it is opened for."""
    limits = {"initial_window": INITIAL_WINDOW, "max_window": MAX_WINDOW}
    ends = Ends(Budget(), **limits)
    stream = ends.client.open(Kind.TCP)
    ends.server.receive(out(ends.client))
    ends.server.accept(stream)
    if up:
        return Way(ends.client, ends.server, stream, size).round_trips()
    return 0.5 + Way(ends.server, ends.client, stream, size).round_trips()


@pytest.mark.parametrize(
    ("size", "trips"), [(INITIAL_WINDOW, 0.5), (10**6, 1.5), (10**7, 2.5), (10**8, 5.5)]
)
def test_upload_takes_few_round_trips(size: int, trips: float) -> None:
    assert round_trips(size, up=True) == trips


@pytest.mark.parametrize(
    ("size", "trips"), [(INITIAL_WINDOW, 1), (10**6, 1), (10**7, 2), (10**8, 5)]
)
def test_download_takes_few_round_trips(size: int, trips: float) -> None:
    assert round_trips(size, up=False) == trips
