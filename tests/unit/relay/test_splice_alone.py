"""A splice between a link in memory and a local connection that the tests play."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from tests.unit.relay.links import WINDOW, LocalTransport, Memory, Recorder, memory
from towline.relay.outbox import Allowance
from towline.relay.peer import WRITE_HIGH_BYTES
from towline.relay.splice import COPY_BYTES, SMALL_BYTES, Splice, reason_of
from towline.relay.stream import LEAST_BYTES
from towline.relay.turns import TURN_BYTES
from towline.wire.frames import MAX_DATA_BYTES, Buffer, Kind, Reason


async def test_credit_is_withheld_while_the_local_reader_is_slow() -> None:
    async with memory() as link:
        near, _, local = await spliced(link)
        window = near.stream.credit
        near.stream.send(bytes(window))
        await link.carry()
        assert near.stream.credit == 0
        assert len(local.waiting) <= MAX_DATA_BYTES

        local.drain()
        await link.carry()
        assert len(local.drained) == window
        assert near.stream.credit >= window * 3 // 4


async def test_what_waits_is_taken_from_the_allowance_and_given_back() -> None:
    allowance = Allowance(1 << 20)
    async with memory() as link:
        near, splice = await unjoined(link, allowance)
        near.stream.send(bytes(1000))
        await link.carry()
        assert allowance.left == (1 << 20) - 1000
        local = LocalTransport(splice)
        local.drain()
        assert allowance.left == 1 << 20
        near.stream.send(bytes(near.stream.credit))
        await link.carry()
        assert allowance.left < 1 << 20
        local.drain()
        assert allowance.left == 1 << 20

        splice.data_received(bytes(splice_credit(link) + 1000))
        assert allowance.left < 1 << 20
        splice.reset(Reason.CANCELLED)
        splice.connection_lost(None)
        assert allowance.left == 1 << 20


async def test_stream_for_which_nothing_is_left_of_the_allowance_is_reset() -> None:
    async with memory() as link:
        near, splice = await unjoined(link, Allowance(1000))
        local = LocalTransport(splice)
        splice.data_received(bytes(splice_credit(link) + 1001))
        await link.carry()
        assert near.told[-1] == Reason.EXHAUSTED
        assert local.ends == ["aborted"]


async def test_local_reading_stops_without_credit_and_goes_on_with_it() -> None:
    async with memory() as link:
        near, splice, local = await spliced(link)
        window = splice_credit(link)
        splice.data_received(bytes(window - 1))
        await link.carry()
        assert local.reading
        splice.data_received(b"too much")
        await link.carry()
        assert not local.reading
        near.stream.consumed(window)
        await link.carry()

        assert local.reading
        assert sum(len(d) for d in near.told if isinstance(d, bytes)) == window + 7


async def test_eof_waits_for_the_data_before_it() -> None:
    async with memory() as link:
        near, splice, local = await spliced(link)
        splice.data_received(bytes(near.stream.credit + 10))
        splice.eof_received()
        await link.carry()
        assert "eof" not in near.told
        near.stream.consumed(sum(len(d) for d in near.told if isinstance(d, bytes)))
        await link.carry()

        assert near.told[-2:] == [bytes(10), "eof"]
        assert local.ends == []


async def test_bulk_streams_share_a_busy_link_by_turns() -> None:
    async with memory() as link:
        ends = [await spliced(link) for _ in range(3)]
        arrived: list[int] = []
        for near, splice, _ in ends:
            near.data = lambda data, near=near: arrived.extend([near.stream.id] * bool(data))
            splice.data_received(bytes(8 * TURN_BYTES))
        await link.carry()

        assert [arrived.count(near.stream.id) for near, _, _ in ends] == [8, 8, 8]
        rest = arrived[8:]
        assert all(len(set(rest[i : i + 2])) == 2 for i in range(0, 14, 2)), "not in turn"


async def test_small_data_does_not_wait_for_a_turn() -> None:
    async with memory() as link:
        _, bulk, bulk_local = await spliced(link)
        near, small, small_local = await spliced(link)
        for _ in range(2):
            bulk.data_received(bytes(3 * TURN_BYTES))
        await asyncio.sleep(0)
        assert not bulk_local.reading
        small.data_received(bytes(SMALL_BYTES))

        assert not small_local.reading, "one at a time, though"
        await link.carry()
        assert near.told == [bytes(SMALL_BYTES)]
        assert small_local.reading
        assert bulk_local.reading


# -- before there is a local connection


async def test_what_comes_before_the_local_connection_is_kept_for_it() -> None:
    async with memory() as link:
        near = Recorder(link.near.open(Kind.TCP))
        near.stream.send(b"early ")
        near.stream.send(b"bird")
        near.stream.send_eof()
        await link.carry()
        splice = Splice(link.opened[0].stream)
        for data in link.opened[0].told[1:-1]:
            splice.data(data)
        splice.eof()
        assert near.told == []
        local = LocalTransport(splice)
        await link.carry()

        local.drain()
        assert local.drained == b"early bird"
        assert local.ends == ["eof"]
        assert near.told == ["accepted"]


async def test_reset_before_the_local_connection_ends_it_when_it_comes() -> None:
    async with memory() as link:
        ended: list[Reason | None] = []
        near = Recorder(link.near.open(Kind.TCP))
        await link.carry()
        splice = Splice(link.opened[0].stream, on_closed=ended.append)
        near.stream.reset(Reason.CANCELLED)
        await link.carry()
        assert ended == [Reason.CANCELLED]

        local = LocalTransport(splice)
        splice.connection_lost(None)
        assert local.ends == ["aborted"]
        assert ended == [Reason.CANCELLED]


async def test_accepting_is_told_to_the_owner() -> None:
    async with memory() as link:
        heard: list[str] = []
        Splice(link.near.open(Kind.TCP), on_accepted=lambda: heard.append("accepted"))
        await link.carry()
        assert heard == []
        link.opened[0].stream.accept()
        await link.carry()

        assert heard == ["accepted"]


# -- what is kept for whoever is slow

PIECE_BYTES, PIECES = 100, 100
BULK_BYTES = 64 * 1024


@pytest.mark.parametrize("connected", [True, False])
async def test_small_pieces_do_not_hold_the_buffers_that_they_came_in(connected: bool) -> None:
    async with memory() as link:
        near, splice = await unjoined(link)
        bulk, passing = await link.stream()
        local = Keeping(splice) if connected else None
        for _ in range(PIECES):
            bulk.stream.send(bytes(BULK_BYTES))
            near.stream.send(bytes(PIECE_BYTES))
            await link.carry()
            passing.stream.consumed(BULK_BYTES)
            await link.carry()

        kept = local.kept if local else list(splice._backlog)
        assert sum(map(len, kept)) == PIECES * PIECE_BYTES
        assert held_bytes(kept) < 2 * PIECES * PIECE_BYTES


async def test_what_waits_holds_no_more_than_itself() -> None:
    async with memory() as link:
        near, splice, local = await spliced(link)
        for size in (1, BULK_BYTES, 1, 1, 1, COPY_BYTES, BULK_BYTES):
            near.stream.send(bytes(size))
            await link.carry()

        assert len(local.waiting) == 1
        kept = list(splice._backlog)
        assert [len(data) for data in kept] == [BULK_BYTES, 3, COPY_BYTES, BULK_BYTES]
        assert held_bytes(kept) == sum(map(len, kept))


async def test_no_more_is_read_than_may_be_sent() -> None:
    async with memory() as link:
        near, splice, local = await spliced(link)
        sent = 0
        while local.reading:
            room = splice.get_buffer(-1)
            splice.buffer_updated(len(room))
            sent += len(room)
            await link.carry()
        assert sent == WINDOW

        near.stream.consumed(WINDOW // 4)
        await link.carry()
        assert local.reading
        assert len(splice.get_buffer(-1)) == WINDOW // 4


async def test_the_more_wait_for_a_turn_the_less_is_read() -> None:
    async with memory() as link:
        ends = [await spliced(link) for _ in range(300)]
        sizes = []
        for _, splice, _ in ends:
            room = splice.get_buffer(-1)
            splice.buffer_updated(len(room))
            sizes.append(len(room))

        assert sizes[0] == WRITE_HIGH_BYTES
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[-1] == LEAST_BYTES


async def test_room_is_given_back_when_nobody_reads_what_came() -> None:
    """Both ends have ended the stream, so only the local reader keeps it from being forgotten."""
    async with memory() as link:
        budget = link.far.mux._windows._budget
        before = budget.growth
        near, splice, local = await spliced(link)
        local.high = WINDOW  # it takes all, so that the window grows
        near.stream.send(bytes(WINDOW))
        await link.carry()
        local.high = 0
        near.stream.send(bytes(near.stream.credit))
        near.stream.send_eof()
        await link.carry()
        splice.eof_received()
        await link.carry()
        assert link.far.streams == {}
        assert budget.growth < before

        splice.connection_lost(None)
        assert budget.growth == before


async def test_bulk_is_passed_on_without_a_copy() -> None:
    async with memory() as link:
        near, splice = await unjoined(link)
        local = Keeping(splice)
        near.stream.send(bytes(COPY_BYTES + 1))
        await link.carry()

        assert [len(data) for data in local.kept] == [COPY_BYTES + 1]
        assert held_bytes(local.kept) > COPY_BYTES + 1, "no longer in the link's own buffer"


class Keeping(LocalTransport):
    """A local connection whose reader stalls; it keeps what is written, as asyncio's does."""

    def __init__(self, splice: Splice) -> None:
        super().__init__(splice)
        self.kept: list[Buffer] = []

    def write(self, data: Buffer) -> None:
        self.kept.append(data)


def held_bytes(kept: list[Buffer]) -> int:
    """What cannot be freed because of these."""
    objects = [data.obj if isinstance(data, memoryview) else data for data in kept]
    return sum(map(len, {id(data): data for data in objects}.values()))


# -- ends of the local connection


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionResetError(errno.ECONNRESET, ""), Reason.RESET),
        (BrokenPipeError(errno.EPIPE, ""), Reason.RESET),
        (TimeoutError(errno.ETIMEDOUT, ""), Reason.TIMED_OUT),
        (OSError(errno.EHOSTUNREACH, ""), Reason.HOST_UNREACHABLE),
        (None, Reason.CANCELLED),
    ],
)
async def test_loss_of_the_local_connection_resets_the_stream(
    error: OSError | None, reason: Reason
) -> None:
    async with memory() as link:
        near, splice, _ = await spliced(link)
        splice.connection_lost(error)
        await link.carry()

        assert near.told == [reason]
        assert link.far.streams == {}


async def test_local_reset_that_shows_at_the_eof_resets_the_stream() -> None:
    async with memory() as link:
        near, _, local = await spliced(link)

        def fail() -> None:
            raise OSError(errno.ENOTCONN, "it has gone")

        local.write_eof = fail
        near.stream.send_eof()
        await link.carry()

        assert near.told == [Reason.RESET]
        assert local.ends == ["aborted"]


async def test_nothing_is_written_to_a_connection_that_is_ending() -> None:
    async with memory() as link:
        near, _, local = await spliced(link)
        local.abort()
        near.stream.send(b"x")
        await link.carry()

        assert local.waiting == b""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, ""), Reason.REFUSED),
        (OSError(errno.ENETUNREACH, ""), Reason.NET_UNREACHABLE),
        (OSError(errno.EHOSTUNREACH, ""), Reason.HOST_UNREACHABLE),
        (TimeoutError(), Reason.TIMED_OUT),
        (socket.gaierror(socket.EAI_NONAME, ""), Reason.UNRESOLVED),
        (asyncio.CancelledError(), Reason.CANCELLED),
        (OSError(errno.EMFILE, ""), Reason.EXHAUSTED),
        (OSError("Multiple exceptions: [Errno 111] a, [Errno 113] b"), Reason.HOST_UNREACHABLE),
        (OSError("Multiple exceptions: [Errno 111] a, [Errno 111] b"), Reason.REFUSED),
        (OSError("who knows"), Reason.INTERNAL),
        (ValueError(), Reason.INTERNAL),
    ],
)
def test_reason_says_why_a_connection_failed(error: BaseException, reason: Reason) -> None:
    assert reason_of(error) == reason


async def test_reason_of_several_addresses_that_all_refuse_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(OSError) as caught:  # noqa: PT011
        await asyncio.get_running_loop().create_connection(asyncio.Protocol, "localhost", port)

    assert reason_of(caught.value) == Reason.REFUSED


# -- helpers


def splice_credit(link: Memory) -> int:
    """What the only stream of the far end may send."""
    (stream,) = link.far.streams.values()
    return stream.credit


async def spliced(link: Memory) -> tuple[Recorder, Splice, LocalTransport]:
    """A stream whose far end is spliced to a local transport."""
    near, splice = await unjoined(link)
    return near, splice, LocalTransport(splice)


async def unjoined(link: Memory, allowance: Allowance | None = None) -> tuple[Recorder, Splice]:
    """A stream whose far end is a splice that waits for its local connection."""
    near, far = await link.stream()
    splice = Splice(far.stream, allowance=allowance)
    far.stream.incoming = False  # it is accepted already
    return near, splice
