from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """Each test leaves no socket and no task behind."""
    before = sockets()
    yield
    async with asyncio.timeout(10):
        while sockets() > before:
            await asyncio.sleep(0.001)  # the last connections are being closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


def sockets() -> int:
    """How many sockets this process has open."""
    kinds: Counter[str] = Counter()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            kinds[os.readlink(descriptor).partition(":")[0]] += 1
        except FileNotFoundError:
            continue  # that of the listing itself
    return kinds["socket"]
