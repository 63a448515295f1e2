"""What a session says of its link, and what its status tells of that."""

from __future__ import annotations

from typing import Any

import pytest

from towline.features import state as state_module
from towline.features.state import SessionState
from towline.kube.config import Access

ACCESS = Access("https://api.example:6443", "default", "lab", "here")


class Told:
    """What the user is told; time and agent are the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.data: list[dict[str, Any]] = []
        self.agent = "agent-1"
        self.now = 100.0
        monkeypatch.setattr(state_module.time, "monotonic", lambda: self.now)
        self.state = SessionState("connect", ACCESS, self, lambda: None, lambda: self.agent)

    def progress(self, message: str) -> None:
        self.said.append(message)

    def event(self, name: str, message: str, **data: Any) -> None:
        self.said.append(message)
        self.data.append(data)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


async def test_loss_and_return_are_a_line_each(told: Told) -> None:
    told.state.live()
    told.state.link_down("no answer")
    told.now += 3.2
    told.state.link_up()
    assert told.said == [
        "The link to the cluster is lost (no answer); reconnecting.",
        "The link to the cluster is back after 3.2 s.",
    ]
    assert told.data[-1] == {"seconds": 3.2, "agent": "agent-1"}


async def test_new_agent_is_told(told: Told) -> None:
    told.state.live()
    told.state.link_down("no answer")
    told.agent = "agent-2"
    told.state.link_up()
    assert told.said[-1].endswith("back after 0.0 s, through a new agent.")


async def test_status_tells_how_often_and_why_the_link_was_lost(told: Told) -> None:
    told.state.live()
    before = told.state.status()
    assert (before["reconnects"], before["failure"]) == (0, None)
    for number in range(2):
        told.state.link_down(f"loss {number}")
        told.state.link_failing("no route")
        told.state.link_up()
    status = told.state.status()
    assert status["reconnects"] == 2
    assert status["failure"]["reason"] == "no route"
    assert status["agent"] == "agent-1"


async def test_status_tells_what_the_agent_is_waited_for_until_the_link_is_up(told: Told) -> None:
    told.state.progress("Waiting for a node")
    assert told.state.status()["waiting"] == "Waiting for a node"
    told.state.link_up()
    assert told.state.status()["waiting"] == ""
    told.state.progress("Waiting for the router")
    told.state.live()
    told.state.progress("Waiting in vain")
    assert told.state.status()["waiting"] == ""
    told.state.link_down("no answer")
    told.state.progress("Waiting for another node")
    assert told.state.status()["waiting"] == "Waiting for another node"
    told.state.link_up()
    assert told.state.status()["waiting"] == ""
    assert told.said[0] == "Waiting for a node"
