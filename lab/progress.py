"""Telling people what is being done, on standard error, since standard output is for results."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab.errors import LabError

Say = Callable[[str], None]

_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 2.0
_REPEAT_SECONDS = 15.0


def say(text: str) -> None:
    """One line."""
    print(text, file=sys.stderr, flush=True)


class Counter:
    """A line about something long that is shown anew as it goes on: in place on a terminal,
    and from time to time where lines stay.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._started = time.monotonic()
        self._shown = self._started
        self._live = sys.stderr.isatty()

    def update(self, text: str) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if self._live and now - self._shown > _POLL_SECONDS:
            print(f"\r\033[K{self._what}: {text}", end="", file=sys.stderr, flush=True)
            self._shown = now
        elif now - self._shown > _REPEAT_SECONDS:
            say(f"{self._what}: {text}")
            self._shown = now

    def finish(self, text: str = "done") -> None:
        """Show that it is through, and how long it took."""
        start = "\r\033[K" if self._live else ""
        say(f"{start}{self._what}: {text} after {time.monotonic() - self._started:.1f} s")


@contextmanager
def counting(what: str) -> Iterator[Counter]:
    """A counter that is finished when the block ends well."""
    counter = Counter(what)
    yield counter
    counter.finish()


def wait_for(what: str, ready: Callable[[], bool], timeout_seconds: float, hint: str) -> None:
    """Wait until `ready()`; say so when it takes a while. Raises LabError with the hint."""
    started = time.monotonic()
    counter: Counter | None = None
    while not ready():
        waited = time.monotonic() - started
        if waited > timeout_seconds:
            raise LabError(f"{what}: not ready within {timeout_seconds:.0f} s. {hint}")
        if waited > _PATIENCE_SECONDS:
            counter = counter or Counter(f"Waiting for {what}")
            counter.update(f"{waited:.0f} s")
        time.sleep(_POLL_SECONDS)
    if counter is not None:
        counter.finish("ready")
