"""Datagrams on a stream: whole or lost, and never waited for."""

from __future__ import annotations

from tests.unit.relay.links import WINDOW, memory
from towline.relay.datagramstream import WAITING_BYTES, DatagramStream
from towline.relay.stream import Stream
from towline.wire.datagrams import MAX_DATAGRAM_BYTES
from towline.wire.frames import Kind, Reason


class End:
    """One end of it, and what it was told."""

    def __init__(self, stream: Stream) -> None:
        self.told: list[bytes | str | Reason | None] = []
        self.stream = stream
        self.datagrams = DatagramStream(
            stream,
            self.told.append,
            self.told.append,
            on_accepted=lambda: self.told.append("accepted"),
        )


async def test_datagrams_pass_both_ways_before_and_after_the_stream_is_accepted() -> None:
    async with memory() as link:
        ends: list[End] = []
        link.on_opened = lambda stream, *_: ends.append(End(stream))
        near = End(link.near.open(Kind.INCOMING))
        near.datagrams.send(b"early")
        near.datagrams.send(b"")
        await link.carry()
        (far,) = ends
        assert far.told == [b"early", b""]
        far.datagrams.accept()
        far.datagrams.send(b"x" * MAX_DATAGRAM_BYTES)
        await link.carry()
        assert near.told == ["accepted", b"x" * MAX_DATAGRAM_BYTES]


async def test_what_is_beyond_the_window_is_lost_whole_and_later_ones_pass() -> None:
    async with memory() as link:
        near, far = await link.stream()
        sender = DatagramStream(near.stream, lambda _: None, lambda _: None)
        size = 10_000
        said = [b"%d" % (number % 10) * size for number in range(200)]
        for datagram in said:  # nothing is carried meanwhile: the reader stalls
            sender.send(datagram)
        heard: list[bytes | Reason | None] = []
        DatagramStream(far.stream, heard.append, heard.append)
        await link.carry()
        assert heard == said[: len(heard)]
        assert WINDOW // 2 < len(heard) * size < WINDOW + WAITING_BYTES
        sender.send(b"later")
        await link.carry()
        assert heard[-1] == b"later"


async def test_the_end_is_told_to_the_other_end_alone() -> None:
    async with memory() as link:
        near, far = (End(each.stream) for each in await link.stream())
        near.datagrams.end(Reason.REFUSED)
        await link.carry()
        assert far.told == [Reason.REFUSED]
        assert near.told == []
        assert near.datagrams.closed
        assert far.datagrams.closed


async def test_half_close_is_an_end() -> None:
    async with memory() as link:
        near, far = (End(each.stream) for each in await link.stream())
        near.stream.send_eof()
        await link.carry()
        assert far.told == [None]
        assert near.told == [Reason.CANCELLED]
