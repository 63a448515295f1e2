"""Waiting for what must become so, in bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
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


def until_at_most(
    look: Callable[[], Mapping[str, int]], limits: Mapping[str, int], seconds: float
) -> None:
    """Look until no figure is larger than its limit; fail after `seconds`, with those that are."""

    def larger() -> dict[str, str]:
        return {
            name: f"{number} instead of {limits[name]}"
            for name, number in look().items()
            if number > limits[name]
        }

    deadline = time.monotonic() + seconds
    while (found := larger()) and time.monotonic() < deadline:
        time.sleep(_LOOK_AGAIN_SECONDS)
    assert found == {}, found
