"""A connection by the link that nobody has accepted yet."""

from __future__ import annotations

import pytest

from towline.features.uplink.proxy import wires
from towline.features.uplink.proxy.wires import Far, Refusal
from towline.wire.frames import Reason


class Stream:
    """One whose other end says nothing."""

    def __init__(self) -> None:
        self.ended_with: Reason | None = None

    def reset(self, reason: Reason) -> None:
        self.ended_with = reason

    def consumed(self, size: int) -> None:
        """It has said nothing."""


async def test_target_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "DIAL_SECONDS", 0.01)
    stream = Stream()
    with pytest.raises(Refusal) as caught:
        await Far(stream).read()  # type: ignore[arg-type]
    assert caught.value.reason is Reason.TIMED_OUT
    assert stream.ended_with is Reason.CANCELLED


async def test_target_that_has_accepted_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "DIAL_SECONDS", 0.0)
    far = Far(Stream())  # type: ignore[arg-type]
    far.accepted()
    far.data(b"")
    far.eof()
    assert await far.read() == b""
