"""How long the no-trace check looks."""

from __future__ import annotations

from tests.e2e import notrace

CLEAN, TRACE = {"rules": {}}, {"rules": {"nft": "table"}}
SECONDS = 1.0


class SlowMachine:
    """Each look takes five seconds of a clock that stands still otherwise."""

    def __init__(self, *seen):
        self.now = 0.0
        self._seen = iter(seen)

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def look(self):
        self.now += 5.0
        return next(self._seen)


def test_look_that_began_in_time_is_not_the_last(monkeypatch):
    machine = SlowMachine(TRACE, CLEAN)
    monkeypatch.setattr(notrace, "time", machine)
    assert notrace.await_same(CLEAN, machine.look, SECONDS) == ""


def test_what_is_seen_by_a_look_after_the_time_is_a_trace(monkeypatch):
    machine = SlowMachine(TRACE, TRACE, CLEAN)
    monkeypatch.setattr(notrace, "time", machine)
    assert "nft" in notrace.await_same(CLEAN, machine.look, SECONDS)
