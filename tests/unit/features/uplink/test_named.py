"""An address is kept for as long as its name, or itself, is used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from towline.features.uplink.named import KEEP_SECONDS, Named

HERE, THERE = ip_address("198.51.100.7"), ip_address("fd00::7")


@pytest.fixture
async def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass."""
    now = 1000.0

    def pass_by(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    return pass_by


async def test_is_kept_for_an_hour_or_for_as_long_as_its_record_says(later):
    named = Named()
    named.keep(HERE, 5)
    named.keep(THERE, KEEP_SECONDS + 60)
    later(KEEP_SECONDS - 1)
    assert named.drop_expired() == []
    later(1)
    assert named.drop_expired() == [HERE]
    assert (HERE in named, THERE in named) == (False, True)
    later(60)
    assert named.drop_expired() == [THERE]


async def test_open_connection_keeps_its_address_and_its_end_is_a_use(later):
    named = Named()
    named.keep(HERE, 5)
    named.opened(HERE)
    named.opened(HERE)
    named.closed(HERE)
    later(3 * KEEP_SECONDS)
    assert named.drop_expired() == []
    named.closed(HERE)
    later(KEEP_SECONDS - 1)
    assert named.drop_expired() == []
    later(1)
    assert named.drop_expired() == [HERE]


async def test_use_prolongs_what_is_kept_and_keeps_nothing_else(later):
    named = Named()
    named.keep(HERE, 5)
    later(KEEP_SECONDS - 1)
    named.used(HERE)
    named.used(THERE)
    later(KEEP_SECONDS - 1)
    assert named.drop_expired() == []
    assert THERE not in named
    named.opened(THERE)
    named.closed(THERE)
    assert THERE not in named
