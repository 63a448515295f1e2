"""What waits for a stream without holding anybody back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.relay.links import WINDOW, Recorder, memory
from towline.relay.outbox import Allowance, Outbox
from towline.relay.stream import Stream


class Pushing(Recorder):
    """A handler that passes credit and turns on to its stream's outbox."""

    def __init__(self, stream: Stream, most: int, allowance: Allowance | None = None) -> None:
        super().__init__(stream)
        self.outbox = Outbox(stream, most, allowance)

    def credit(self) -> None:
        self.outbox.push()


async def test_what_fits_waits_for_credit_in_order_and_its_end_comes_last() -> None:
    async with memory() as link:
        near, far = await link.stream()
        outbox = Pushing(near.stream, 10).outbox
        near.stream.send(b"x" * (WINDOW - 3))
        assert outbox.put(b"abcdef")
        assert outbox.put(b"ghi")
        outbox.put_eof()
        await link.carry()
        assert b"".join(far.told).endswith(b"xabc")
        far.stream.consumed(WINDOW)
        await link.carry()
        assert far.told[-2:] == [b"defghi", "eof"]


async def test_what_is_too_much_is_refused_whole() -> None:
    async with memory() as link:
        near, far = await link.stream()
        outbox = Pushing(near.stream, 10).outbox
        near.stream.send(b"x" * WINDOW)
        assert outbox.put(b"a" * 6)
        assert not outbox.put(b"b" * 5)
        assert outbox.put(b"c" * 4)
        await link.carry()
        far.told.clear()
        far.stream.consumed(WINDOW)
        await link.carry()
        assert far.told == [b"aaaaaacccc"]


async def test_allowance_is_shared_and_comes_back() -> None:
    async with memory() as link:
        allowance = Allowance(10)
        ends = [await link.stream() for _ in range(2)]
        one, two = (Pushing(near.stream, 100, allowance).outbox for near, _ in ends)
        for near, _ in ends:
            near.stream.send(b"x" * WINDOW)
        assert one.put(b"a" * 8)
        assert not two.put(b"b" * 3)
        one.clear()
        assert two.put(b"b" * 3)
        await link.carry()
        ends[1][1].stream.consumed(WINDOW)
        await link.carry()
        assert allowance.left == 10


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-100, 100)), max_size=100))
def test_allowances_within_one_have_no_more_together(steps: list[tuple[int, int]]) -> None:
    whole = Allowance(300)
    each = [Allowance(100, within=whole) for _ in range(6)]
    taken = [0] * len(each)
    for number, size in steps:
        if size <= each[number].left and taken[number] + size >= 0:
            each[number].take(size)
            taken[number] += size
            assert size <= 0 or whole.left >= taken[number], "took more than it left"
        assert whole.left == 300 - sum(taken) >= 0


def test_allowance_is_its_own_while_others_have_little_and_less_when_they_have_much() -> None:
    whole = Allowance(300)
    first, *others = (Allowance(100, within=whole) for _ in range(4))
    assert first.left == 100
    first.take(100)
    assert (first.left, others[0].left) == (0, 100)
    for other in others:
        other.take(other.left)
    assert whole.left == 25
    assert first.left < 0, "more than it would leave to others"
    first.take(-100)
    assert first.left == 62


async def test_stream_that_has_ended_takes_everything_and_keeps_nothing() -> None:
    async with memory() as link:
        near, _ = await link.stream()
        allowance = Allowance(10)
        link.near.abort()
        assert Outbox(near.stream, 10, allowance).put(b"x" * 100)
        assert allowance.left == 10


async def test_busy_link_gives_turns() -> None:
    async with memory() as link:
        near, far = await link.stream()
        near.stream.send(b"x" * (WINDOW // 2))  # the transport is full from now on
        outbox = Pushing(near.stream, 1000).outbox
        assert outbox.put(b"a" * 1000)
        assert not outbox.put(b"b")
        await link.carry()
        assert b"".join(far.told).endswith(b"x" + b"a" * 1000)
