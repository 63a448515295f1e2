"""Remembers for a while which names the cluster said exist, and which do not."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from towline.wire.dns import Name

CAPACITY = 4096


@dataclass(frozen=True, slots=True)
class _Verdict:
    exists: bool
    until: float


class Verdicts:
    """What is known of names, the least recently learned being forgotten beyond `CAPACITY`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[Name, _Verdict] = {}

    def learn(self, name: Name, exists: bool, seconds: float) -> None:
        """Take note of whether `name` exists, valid for `seconds`."""
        self._known.pop(name, None)
        self._known[name] = _Verdict(exists, self._clock() + seconds)
        if len(self._known) > CAPACITY:
            del self._known[next(iter(self._known))]

    def fresh(self, name: Name) -> bool | None:
        """Return whether `name` exists, None if that is not known or too old."""
        verdict = self._known.get(name)
        return verdict.exists if verdict and self._clock() < verdict.until else None

    def last(self, name: Name) -> bool | None:
        """Return whether `name` existed when it was last heard of, however long ago."""
        verdict = self._known.get(name)
        return None if verdict is None else verdict.exists
