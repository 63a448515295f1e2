"""Sessions and programs that come up and end together."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from towline.errors import TowlineError
from towline.session import group as module
from towline.session.group import Group
from towline.session.member import Member

READY = {"event": "ready", "message": "up"}
ERROR = {"event": "error", "message": "no", "summary": "no", "hint": "mend it", "exit_code": 6}
FOR_EVER = "exec sleep 600"
SECONDS = 30


class Said:
    """What members have told, as it came."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.ready = asyncio.Event()

    def event(self, label: str, event: dict[str, Any]) -> None:
        self.lines.append((label, str(event["event"])))

    def line(self, label: str, text: str) -> None:
        self.lines.append((label, text))

    @property
    def is_ready(self) -> bool:
        return self.ready.is_set()


def tells(*events: dict[str, Any]) -> str:
    return "".join(f"echo {shlex.quote(json.dumps(each))}; " for each in events)


def session(label: str, script: str, stage: int = 0) -> Member:
    return Member(label, ("sh", "-c", script), True, stage)


def program(label: str, script: str, stage: int = 2) -> Member:
    return Member(label, ("sh", "-c", script), False, stage)


async def run(said: Said, members: Sequence[Member]) -> tuple[str, int]:
    return await asyncio.wait_for(Group(members, said).run(said.ready.set), SECONDS)


async def test_stage_begins_when_the_one_before_is_ready() -> None:
    said = Said()
    members = [
        program("p", "echo runs; exit 3"),
        session("b", tells(READY) + FOR_EVER, stage=1),
        session("a", "sleep 0.2; " + tells(READY) + FOR_EVER),
    ]
    assert await run(said, members) == ("p", 3)
    assert said.lines == [("a", "ready"), ("b", "ready"), ("p", "runs")]
    assert said.is_ready


async def test_first_to_end_ends_all(tmp_path: Path) -> None:
    said = Said()
    mark = tmp_path / "ended"
    tidy = f"trap 'echo bye; touch {mark}; exit 0' TERM; while :; do sleep 0.05; done"
    members = [session("a", tells(READY) + "sleep 0.3"), program("p", tidy, stage=0)]
    assert await run(said, members) == ("a", 0)
    assert mark.exists()
    assert ("p", "bye") in said.lines


async def test_session_is_asked_to_end_in_order() -> None:
    said = Said()
    tidy = "trap 'exit 0' TERM; " + tells(READY) + "while :; do sleep 0.05; done"
    assert await run(said, [session("a", tidy), program("p", "exit 0")]) == ("p", 0)


async def test_error_of_one_is_that_of_all() -> None:
    said = Said()
    members = [session("a", FOR_EVER), session("b", tells(ERROR, ERROR) + "exit 6")]
    with pytest.raises(TowlineError) as caught:
        await run(said, members)
    assert (caught.value.summary, caught.value.hint) == ("b: no", "mend it")
    assert caught.value.exit_code == 6
    assert not said.is_ready


async def test_session_that_was_killed_is_an_error() -> None:
    with pytest.raises(TowlineError, match="a was killed") as caught:
        await run(Said(), [session("a", "kill -9 $$")])
    assert caught.value.exit_code == 137


async def test_what_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "END_SECONDS", 0.1)
    stubborn = "trap '' TERM; " + tells(READY) + "while :; do sleep 0.05; done"
    assert await run(Said(), [session("a", stubborn), program("p", "exit 1")]) == ("p", 1)


async def test_cancelled_group_ends_its_members(tmp_path: Path) -> None:
    said = Said()
    mark = tmp_path / "ended"
    tidy = f"trap 'touch {mark}; exit 0' TERM; " + tells(READY) + "while :; do sleep 0.05; done"
    task = asyncio.ensure_future(run(said, [session("a", tidy)]))
    await asyncio.wait_for(said.ready.wait(), SECONDS)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert mark.exists()


async def test_lines_of_any_length_and_a_last_one_without_an_end() -> None:
    said = Said()
    write = "import sys; sys.stderr.write('x' * 3000000 + '\\nlast')"
    member = Member("p", (sys.executable, "-S", "-c", write), False, 0)
    assert await run(said, [member]) == ("p", 0)
    assert "".join(text for _, text in said.lines) == "x" * 3000000 + "last"
    assert said.lines[-1] == ("p", "last")
