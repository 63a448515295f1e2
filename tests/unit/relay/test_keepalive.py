"""Keepalive, with a clock that the tests put forward."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.unit.relay.links import Memory
from towline.relay import peer as peer_module
from towline.wire import frames
from towline.wire.frames import Reason


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock a test can put forward."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


class Silence:
    """A link whose clock the test puts forward, ping by ping."""

    def __init__(self, loop: SkippingLoop, **options: Any) -> None:
        self.loop = loop
        self.lost: list[BaseException | None] = []
        self.silences: list[bool] = []
        self.link = Memory(
            on_silence=self.silences.append,
            on_lost=self.lost.append,
            ping_seconds=5,
            dead_seconds=15,
            **options,
        )

    async def skip(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.loop.skipped += 1
            await asyncio.sleep(0)
            await asyncio.sleep(0)


def in_silence(test: Any) -> None:
    """Run a test with a Silence."""
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:

        async def main() -> None:
            loop = runner.get_loop()
            assert isinstance(loop, SkippingLoop)
            silence = Silence(loop)
            await silence.link.carry()
            await test(silence)
            silence.link.near.abort()
            silence.link.far.abort()

        runner.run(main())


def test_link_that_falls_silent_is_given_up_after_the_time_set() -> None:
    async def check(silence: Silence) -> None:
        heard = silence.link.near.last_heard
        near, _ = await silence.link.stream()
        await silence.skip(14)
        assert silence.lost == []
        await silence.skip(8)

        assert [str(error) for error in silence.lost] == ["nothing was heard for 15 seconds"]
        assert near.told == [Reason.LINK_LOST]
        assert silence.link.near_transport.ended
        assert silence.loop.time() - heard >= 15

    in_silence(check)


def test_ping_without_an_answer_is_told_and_so_is_what_comes_after_all() -> None:
    async def check(silence: Silence) -> None:
        await silence.skip(14)
        assert silence.silences == []
        await silence.skip(2)
        assert silence.silences == [True]
        assert silence.link.near.silent
        await silence.link.carry()
        assert silence.silences == [True, False]
        assert not silence.link.near.silent
        assert silence.lost == []

    in_silence(check)


def test_probe_tells_within_the_time_of_a_ping() -> None:
    async def check(silence: Silence) -> None:
        silence.link.near.probe()
        await silence.skip(4)
        assert silence.silences == []
        await silence.skip(2)
        assert silence.silences == [True]

    in_silence(check)


def test_answer_to_the_last_ping_tells_the_round_trip() -> None:
    async def check(silence: Silence) -> None:
        near = silence.link.near
        assert near.round_trip is None
        near.probe()
        await silence.skip(2)
        await silence.link.carry()
        assert near.round_trip is not None
        assert 2 <= near.round_trip < 3
        assert near.sent == silence.link.far.received > 0
        assert near.received == silence.link.far.sent > 0

    in_silence(check)


def test_probe_that_is_answered_is_no_news() -> None:
    async def check(silence: Silence) -> None:
        silence.link.near.probe()
        await silence.link.carry()
        await silence.skip(6)
        assert silence.silences == []

    in_silence(check)


def test_probes_put_off_neither_silence_nor_end() -> None:
    async def check(silence: Silence) -> None:
        for _ in range(20):
            silence.link.near.probe()
            await silence.skip(1)
        assert silence.silences == [True]
        assert len(silence.lost) == 1

    in_silence(check)


def test_idle_link_is_kept_by_pings() -> None:
    async def check(silence: Silence) -> None:
        for _ in range(30):
            await silence.skip(5)
            await silence.link.carry()
        assert silence.lost == []
        assert silence.loop.time() - silence.link.near.last_heard < 11

    in_silence(check)


def test_busy_link_needs_no_pings() -> None:
    async def check(silence: Silence) -> None:
        for _ in range(30):
            await silence.skip(2)
            silence.link.near.data_received(frames.encode(frames.FrameType.BLOCKED | 0x10, 0))
        assert silence.link.near_transport.writes == []
        assert silence.lost == []

    in_silence(check)


def test_long_pause_of_this_process_does_not_end_the_link() -> None:
    async def check(silence: Silence) -> None:
        silence.loop.skipped += 3600
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await silence.skip(5)
        await silence.link.carry()
        await silence.skip(5)
        await silence.link.carry()

        assert silence.lost == []

    in_silence(check)


def test_close_does_not_wait_for_ever_for_who_does_not_read() -> None:
    async def check(silence: Silence) -> None:
        transport = silence.link.near_transport
        transport.close = lambda: None
        silence.link.near.close()
        await silence.skip(peer_module.CLOSE_SECONDS - 1)
        assert not transport.ended
        await silence.skip(2)
        assert transport.ended

    in_silence(check)
