"""Taking an interception back through the cluster's API."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from hypothesis import given

from tests.unit.agent.inside import KEY, PATH, SELECTOR, Inside
from tests.unit.agent.test_undo import JSON, RECORDS
from towline.agent.apiserver import ApiServer
from towline.agent.undo import AGENT_LABEL, Record, of
from towline.agent.undoing import CONFLICTS, Changed, undo_until_done

SECONDS = 20.0  # until a test that hangs fails
FIRST_WAIT_SECONDS = 0.01


async def undo_it(inside: Inside) -> None:
    async with asyncio.timeout(SECONDS):
        await undo_until_done(inside.changed, ApiServer(str(inside.folder)), FIRST_WAIT_SECONDS)


def methods(inside: Inside) -> list[str]:
    return [seen.method for seen in inside.server.requests]


async def test_service_is_put_back(inside: Inside, capsys: pytest.CaptureFixture[str]) -> None:
    await inside.intercept()
    await undo_it(inside)
    assert inside.selector == SELECTOR
    assert of(inside.service) is None
    assert methods(inside) == ["GET", "PATCH"]
    assert capsys.readouterr().err == ""


async def test_object_that_is_gone_needs_no_undoing(inside: Inside) -> None:
    await undo_it(inside)
    assert methods(inside) == ["GET"]


async def test_interception_of_somebody_else_is_left_alone(inside: Inside) -> None:
    await inside.intercept()
    inside.changed = Changed(PATH, Record("job-2", "john@desk", "now", SELECTOR))
    await undo_it(inside)
    assert inside.selector == {AGENT_LABEL: "job-1"}
    assert methods(inside) == ["GET"]


async def test_edit_between_reading_and_writing_is_not_lost(
    inside: Inside, capsys: pytest.CaptureFixture[str]
) -> None:
    await inside.intercept()
    edits = [{"spec": {"selector": {"app": "other"}}}]

    async def edit(request: web.Request) -> web.StreamResponse | None:
        if request.method == "PATCH" and edits:
            await inside.edit(edits.pop())
        return None

    inside.server.faults.append(edit)
    await undo_it(inside)
    assert inside.selector == {"app": "other"}
    assert of(inside.service) is None
    assert methods(inside) == ["GET", "PATCH"] * 2
    assert capsys.readouterr().err == ""


async def test_no_field_stays_managed_by_us_when_somebody_writes_meanwhile(inside: Inside) -> None:
    await inside.intercept()
    ours = {"metadata": {"managedFields": [{"manager": "towline"}]}}
    await inside.edit(ours)
    writes = 0

    async def edit(request: web.Request) -> web.StreamResponse | None:
        nonlocal writes
        writes += request.method == "PATCH"
        if request.method == "PATCH" and writes == 2:
            await inside.edit({"metadata": {"labels": {"a": "b"}}})
        return None

    inside.server.faults.append(edit)
    await undo_it(inside)
    assert inside.service["metadata"]["managedFields"] == []
    assert inside.service["metadata"]["labels"] == {"a": "b"}


async def test_conflicts_without_end_are_a_failure_like_others(
    inside: Inside, capsys: pytest.CaptureFixture[str]
) -> None:
    await inside.intercept()
    left = CONFLICTS

    async def conflict(request: web.Request) -> web.StreamResponse | None:
        nonlocal left
        if request.method != "PATCH" or not left:
            return None
        left -= 1
        return web.json_response({"message": "no"}, status=409)

    inside.server.faults.append(conflict)
    await undo_it(inside)
    assert inside.selector == SELECTOR
    assert capsys.readouterr().err.count("409 no\n") == 1


async def test_failures_are_tried_again_and_told_once_each(
    inside: Inside, capsys: pytest.CaptureFixture[str]
) -> None:
    await inside.intercept()
    inside.server.fail(503, times=3)
    inside.server.fail(502, times=2)
    await undo_it(inside)
    assert inside.selector == SELECTOR
    told = capsys.readouterr().err.splitlines()
    assert [PATH in line for line in told] == [True, True]
    assert "503" in told[0]
    assert "502" in told[1]


async def test_cancelling_ends_it(inside: Inside) -> None:
    await inside.intercept()
    inside.server.allows = lambda _: False
    undoing = asyncio.ensure_future(undo_it(inside))
    async with asyncio.timeout(SECONDS):
        while len(inside.server.requests) < 3:
            await asyncio.sleep(0.01)
        undoing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await undoing
    assert inside.server.store.objects[KEY]["spec"]["selector"] == {AGENT_LABEL: "job-1"}


# -- the agent's option


@given(JSON.map(json.dumps), RECORDS)
def test_option_is_read_as_it_is_written_and_survives_kubernetes(path: str, record: Record) -> None:
    changed = Changed(path, record)
    assert Changed.parse(changed.to_json()) == changed
    assert "$" not in changed.to_json()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"path": 1, "record": {}}', '{"path": "/api"}', '{"record": {}}']
)
def test_malformed_option_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Changed.parse(text)
