"""What tells of a change of the network and of a sleep, with a clock of the test's own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator

import pytest

from towline.link import awakening
from towline.link.awakening import Awakening


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(awakening, "PULSE_SECONDS", 0.001)
    monkeypatch.setattr(awakening, "BURST_SECONDS", 0.001)
    return


async def test_clock_that_jumps_is_told_once() -> None:
    told: list[bool] = []
    now = 5.0
    awake = Awakening(lambda: told.append(True), now=lambda: now)
    await asyncio.sleep(0.01)
    assert told == []
    now += 60
    while not told:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    awake.close()
    assert told == [True]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="rtnetlink is Linux's")
async def test_change_of_the_network_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket says that there is something; what it is does not matter."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    monkeypatch.setattr(awakening, "_changes", lambda: _Pipe(read))
    told = asyncio.Event()
    awake = Awakening(told.set, now=lambda: 0)
    os.write(write, b"changed")
    await asyncio.wait_for(told.wait(), 10)
    awake.close()
    os.close(write)


class _Pipe:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def recv(self, size: int) -> bytes:
        return os.read(self._fd, size)

    def close(self) -> None:
        os.close(self._fd)
