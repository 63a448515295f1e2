"""Waiting for what must become so, in bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK_AGAIN_SECONDS = 0.02


def until(look: Callable[[], T], seconds: float, what: str) -> T:
    """Look until there is something (that is true), and return it; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(_LOOK_AGAIN_SECONDS)
    return found


def until_equal(look: Callable[[], T], wanted: T, seconds: float) -> None:
    """Look until there is what is wanted; fail after `seconds`, with what there is instead."""
    deadline = time.monotonic() + seconds
    while (found := look()) != wanted and time.monotonic() < deadline:
        time.sleep(_LOOK_AGAIN_SECONDS)
    assert found == wanted
