"""Two ends of a link under arbitrary operations, cuts and delays, against a simple model."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from towline.wire.budget import Budget
from towline.wire.events import Accepted, Credit, Data, Eof, Event, HelloReceived, Opened, Reset
from towline.wire.frames import Kind, Reason
from towline.wire.mux import Mux, StreamClosed
from towline.wire.windows import FIRST_GROWTH, PLENTY

WINDOW = 16
FIRST = WINDOW * FIRST_GROWTH
MAX_WINDOW, GROWTH, TRUST = 4 * FIRST, 6 * FIRST, (PLENTY + 1) * FIRST


@dataclass
class Side:
    """What one end has done on one stream, and what it was told."""

    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)
    consumed: int = 0
    knows: bool = False  # it opened the stream, or was told of it
    accepted: bool = False  # it may send
    eof_sent: bool = False
    eof_received: bool = False
    reset_sent: bool = False
    reset_received: bool = False

    @property
    def open(self) -> bool:
        done = self.eof_sent and self.eof_received
        return self.knows and not (done or self.reset_sent or self.reset_received)

    @property
    def may_send(self) -> bool:
        return self.open and self.accepted and not self.eof_sent

    @property
    def unread(self) -> int:
        return len(self.received) - self.consumed


class TwoEnds(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        limits = {"initial_window": WINDOW, "max_window": MAX_WINDOW}
        self.whole = Budget(3 * GROWTH)
        self.budgets = [Budget(GROWTH, TRUST, within=self.whole) for _ in range(2)]
        self.ends = [
            Mux(client=number == 0, budget=budget, **limits)
            for number, budget in enumerate(self.budgets)
        ]
        self.wires = [bytearray(), bytearray()]  # by the end that the bytes come from
        self.streams: dict[int, list[Side]] = {}
        self.greeted = [False, False]
        self.counter = 0

    def some(self, data: st.DataObject, end: int, wanted: str) -> int | None:
        found = [n for n, sides in self.streams.items() if getattr(sides[end], wanted)]
        return data.draw(st.sampled_from(found)) if found else None

    ends_ = st.integers(0, 1)

    @initialize(count=st.integers(0, 2))
    def begin_with_streams(self, count: int) -> None:
        """Spare the rules the long way to streams that work."""
        for end in (0, 1):
            for _ in range(count):
                self.open(end, Kind.TCP, b"")
        self.settle()
        for stream, sides in self.streams.items():
            for end, side in zip(self.ends, sides, strict=True):
                if not side.accepted:
                    end.accept(stream)
                    side.accepted = True
        self.settle()

    @rule(end=ends_, kind=st.sampled_from(Kind), where=st.binary(max_size=8))
    def open(self, end: int, kind: Kind, where: bytes) -> None:
        stream = self.ends[end].open(kind, where)
        assert stream not in self.streams
        self.streams[stream] = [Side(), Side()]
        self.streams[stream][end].knows = True
        self.streams[stream][end].accepted = True

    @rule(end=ends_, data=st.data())
    def accept(self, end: int, data: st.DataObject) -> None:
        stream = self.some(data, end, "open")
        if stream is not None and not self.streams[stream][end].accepted:
            self.ends[end].accept(stream)
            self.streams[stream][end].accepted = True

    @rule(end=ends_, data=st.data(), share=st.sampled_from([0.1, 0.5, 1, 1]))
    def send(self, end: int, data: st.DataObject, share: float) -> None:
        stream = self.some(data, end, "may_send")
        if stream is None:
            return
        credit = self.ends[end].credit(stream)
        size = int(credit * share)
        self.counter += 1
        payload = (b"%d," % self.counter * size)[:size]
        self.ends[end].send(stream, payload)
        self.streams[stream][end].sent += payload
        with pytest.raises(ValueError, match="credit"):
            self.ends[end].send(stream, bytes(credit - size + 1))

    @rule(end=ends_, data=st.data())
    def send_eof(self, end: int, data: st.DataObject) -> None:
        stream = self.some(data, end, "may_send")
        if stream is not None:
            self.ends[end].send_eof(stream)
            self.streams[stream][end].eof_sent = True

    @rule(end=ends_, data=st.data(), reason=st.sampled_from(sorted(Reason)[:-1]))
    def reset(self, end: int, data: st.DataObject, reason: Reason) -> None:
        stream = self.some(data, end, "open")
        if stream is not None:
            self.ends[end].reset(stream, reason)
            self.streams[stream][end].reset_sent = True

    @rule(end=ends_, data=st.data(), share=st.sampled_from([0.2, 1]))
    def consume(self, end: int, data: st.DataObject, share: float) -> None:
        stream = self.some(data, end, "unread")
        if stream is not None:
            size = int(self.streams[stream][end].unread * share)
            self.ends[end].consumed(stream, size)
            self.streams[stream][end].consumed += size

    @rule(end=ends_)
    def flush(self, end: int) -> None:
        for buffer in self.ends[end].take_output():
            self.wires[end] += buffer

    @rule(end=ends_)
    def give_back(self, end: int) -> None:
        self.ends[end].give_back()

    @rule(end=ends_, rounds=st.integers(1, 4), data=st.data())
    def send_in_bulk(self, end: int, rounds: int, data: st.DataObject) -> None:
        """Fill the window and read it at the other end, several times over."""
        stream = self.some(data, end, "may_send")
        for _ in range(rounds):
            if stream is None or not self.streams[stream][end].may_send:
                return
            payload = bytes(self.ends[end].credit(stream))
            self.ends[end].send(stream, payload)
            self.streams[stream][end].sent += payload
            self.settle()

    @rule(end=ends_, size=st.one_of(st.integers(1, 20), st.just(100_000)), read=st.booleans())
    def deliver(self, end: int, size: int, read: bool) -> None:
        """Carry bytes that `end` sent; the other may consume data as it comes."""
        wire, other = self.wires[end], 1 - end
        piece, wire[:size] = bytes(wire[:size]), b""
        for event in self.ends[other].receive(piece):
            self.check_event(other, event, read=read)

    def check_event(self, end: int, event: Event, *, read: bool) -> None:
        if isinstance(event, HelloReceived):
            assert not self.greeted[end], "hello came twice"
            self.greeted[end] = True
            return
        assert not isinstance(event, Reset | Opened) or event.stream in self.streams
        side, other = self.streams[event.stream][end], self.streams[event.stream][1 - end]
        if isinstance(event, Opened):
            assert not side.knows, "opened twice"
            side.knows = True
            return
        assert side.open, f"{event} after the end"
        if isinstance(event, Data):
            assert event.data, "an empty piece"
            assert not side.eof_received, "data after the end"
            side.received += event.data
            assert other.sent.startswith(side.received), "other data than was sent"
            if read:
                self.ends[end].consumed(event.stream, side.unread)
                side.consumed = len(side.received)
        elif isinstance(event, Eof):
            assert side.received == other.sent, "the end before all data"
            assert other.eof_sent
            side.eof_received = True
        elif isinstance(event, Reset):
            assert other.reset_sent
            side.reset_received = True
        elif isinstance(event, Accepted):
            assert other.accepted
        else:
            assert isinstance(event, Credit)
            assert not side.eof_sent, "credit after our end"

    @invariant()
    def budget_holds(self) -> None:
        """Never is more unread than a first window each, and what was taken of the budget."""
        for end, budget in enumerate(self.budgets):
            assert 0 <= budget.growth <= GROWTH
            assert 0 <= budget.trust <= TRUST
            grown = 0
            for sides in self.streams.values():
                if sides[end].reset_sent or sides[end].reset_received:
                    continue
                assert sides[end].unread <= MAX_WINDOW, "more unread than a window"
                grown += max(0, sides[end].unread - WINDOW)
            assert grown <= GROWTH - budget.growth, "more unread than the budget knows of"

    @invariant()
    def windows_hold(self) -> None:
        for end in (0, 1):
            for sides in self.streams.values():
                if sides[end].open or sides[1 - end].open:
                    waiting = len(sides[1 - end].sent) - sides[end].consumed
                    assert waiting <= MAX_WINDOW, "more under way than a window"

    def teardown(self) -> None:
        """Let all arrive: what was neither reset nor cut is complete, and both ends agree."""
        self.settle()
        self.read_all()
        self.settle()
        for stream, sides in self.streams.items():
            for end in (0, 1):
                if sides[end].may_send:
                    assert self.ends[end].credit(stream) > WINDOW / 2, "credit was lost"
                if sides[end].open:
                    self.finish(stream, end)
        self.settle()
        for stream, sides in self.streams.items():
            for end, side in zip(self.ends, sides, strict=True):
                assert not side.open, f"stream {stream} is left over"
                assert end.credit(stream) == 0
                with pytest.raises(StreamClosed):
                    end.accept(stream)
                end.reset(stream, Reason.CANCELLED)
                assert end.take_output() == [], "reset what has ended"
            if not any(side.reset_sent for side in sides):
                assert sides[0].received == sides[1].sent
                assert sides[1].received == sides[0].sent
        for budget in self.budgets:
            assert (budget.growth, budget.trust) == (GROWTH, TRUST), "something was kept"
        assert self.whole.growth == 3 * GROWTH

    def settle(self) -> None:
        while True:
            self.flush(0)
            self.flush(1)
            if not any(self.wires):
                return
            self.deliver(0, 100_000, read=True)
            self.deliver(1, 100_000, read=True)

    def read_all(self) -> None:
        for stream, sides in self.streams.items():
            for end in (0, 1):
                self.ends[end].consumed(stream, sides[end].unread)
                sides[end].consumed = len(sides[end].received)

    def finish(self, stream: int, end: int) -> None:
        side = self.streams[stream][end]
        if not side.accepted:
            self.ends[end].accept(stream)
            side.accepted = True
        if not side.eof_sent:
            self.ends[end].send_eof(stream)
            side.eof_sent = True


TestTwoEnds = TwoEnds.TestCase
TestTwoEnds.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
