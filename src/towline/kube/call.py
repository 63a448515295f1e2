"""What is asked of an API server, and how patiently."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

# Spreads out what many clients repeat after the same failure.
_RANDOM = random.Random()  # noqa: S311

Params = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait and how often to try; all times in seconds.

    The API server itself gives up a request after 60 seconds, with a better answer than ours.
    """

    attempts: int = 4
    first_wait: float = 0.2
    longest_wait: float = 5.0
    longest_asked_wait: float = 30.0
    connect_timeout: float = 10.0
    request_timeout: float = 65.0

    def wait(self, attempt: int) -> float:
        """The time to wait after the failure of attempt 0, 1, …; never twice quite the same."""
        wait = min(self.first_wait * 2.0 ** min(attempt, 30), self.longest_wait)
        return wait * _RANDOM.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Call:
    """One request: `path` without the server's prefix; `read_timeout` for streams only."""

    method: str
    path: str
    params: Params = ()
    body: bytes | None = None
    content_type: str = "application/json"
    read_timeout: float | None = None

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice does what sending it once does."""
        return self.method == "GET"

    @property
    def is_watch(self) -> bool:
        """Whether the answer is a stream of events."""
        return ("watch", "1") in self.params
