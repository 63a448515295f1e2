"""A session's change of a service, made, disturbed and undone, against an API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.apiserver import ApiServer
from tests.fakes.objectstore import Collection, Key
from tests.fakes.patching import merge
from towline.agent.undo import AGENT_LABEL, ANNOTATION, Record, apply
from towline.cluster import interception
from towline.cluster.interception import Interception
from towline.errors import SessionError
from towline.kube.call import Patience
from towline.kube.client import Client
from towline.kube.errors import ServerError
from towline.kube.resources import SERVICES

KEY = Key(Collection("api/v1", "services"), "default", "web")
RECORD = Record("job-1", "jane@laptop", "2026-01-02T03:04:05+00:00", {"app": "web"})
OTHER = replace(RECORD, job="job-2", owner="joe@desk")
SECONDS = 10.0


@dataclass
class Ground:
    server: ApiServer
    client: Client
    interception: Interception

    @property
    def service(self) -> dict[str, Any]:
        return self.server.store.get(KEY)

    async def edit(
        self, change: dict[str, Any], manager: str = "kubectl", time: str = "2026-01-02T03:04:05Z"
    ) -> None:
        """What somebody else does."""
        fields = [{"manager": manager, "time": time}]
        changed = merge(self.service, change)
        changed["metadata"]["managedFields"] = fields
        await self.server.store.update(KEY, changed)


@asynccontextmanager
async def ground() -> AsyncIterator[Ground]:
    async with ApiServer() as server, Client(server.access(), Patience(attempts=1)) as client:
        service = {
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], "type": "ClusterIP"},
        }
        await server.add("api/v1", "services", service, namespace="default")
        seen = server.store.get(KEY)
        yield Ground(server, client, Interception(client, SERVICES, seen, RECORD, "svc/web"))


async def test_service_is_changed_and_put_back() -> None:
    async with ground() as here:
        before = here.service
        await here.interception.begin()
        assert here.service["spec"]["selector"] == {AGENT_LABEL: "job-1"}
        assert interception.holder(here.service) == RECORD
        assert interception.selector(here.service) == {"app": "web"}
        for _ in range(2):
            await here.interception.end()
            assert here.service["spec"] == before["spec"]
            assert ANNOTATION not in here.service["metadata"].get("annotations", {})


async def test_no_field_is_managed_by_us_afterwards() -> None:
    async with ground() as here:
        await here.interception.begin()
        await here.edit({}, "towline")
        await here.interception.end()
        assert here.service["metadata"]["managedFields"] == []


async def test_no_field_stays_managed_by_us_when_somebody_writes_meanwhile() -> None:
    async with ground() as here:
        await here.interception.begin()
        await here.edit({}, "towline")
        writes = 0

        async def quicker(request: web.Request) -> web.StreamResponse | None:
            nonlocal writes
            writes += request.method == "PATCH"
            if request.method == "PATCH" and writes == 2:
                await here.edit({"metadata": {"labels": {"a": "b"}}}, "towline")
            return None

        here.server.faults.append(quicker)
        await here.interception.end()
        assert here.service["metadata"]["managedFields"] == []
        assert here.service["metadata"]["labels"] == {"a": "b"}


async def test_service_that_was_changed_meanwhile_is_not_taken() -> None:
    async with ground() as here:
        await here.edit({"spec": {"selector": {"version": "2"}}})
        with pytest.raises(SessionError, match="changed by kubectl"):
            await here.interception.begin()
        await here.interception.end()
        assert here.service["spec"]["selector"] == {"app": "web", "version": "2"}


async def test_loser_of_a_race_is_told_who_was_quicker() -> None:
    async with ground() as here:
        seen = here.service
        await Interception(here.client, SERVICES, seen, OTHER, "svc/web").begin()
        with pytest.raises(SessionError, match="intercepted by joe@desk, since 2026-01-02T03:04"):
            await here.interception.begin()
        await here.interception.end()
        assert interception.holder(here.service) == OTHER


async def test_change_between_reading_and_writing_is_noticed() -> None:
    async with ground() as here:

        async def quicker(request: web.Request) -> web.StreamResponse | None:
            if request.method == "PATCH":
                here.server.faults.clear()
                await here.edit({"metadata": {"labels": {"a": "b"}}})
            return None

        here.server.faults.append(quicker)
        await here.interception.begin()
        assert here.service["metadata"]["labels"] == {"a": "b"}
        assert here.service["spec"]["selector"] == {AGENT_LABEL: "job-1"}


async def test_write_that_is_under_way_at_the_end_is_undone() -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def hold(request: web.Request) -> web.StreamResponse | None:
            if request.method == "PATCH":
                here.server.faults.clear()
                arrived.set()
                await go_on.wait()
            return None

        here.server.faults.append(hold)
        beginning = asyncio.ensure_future(here.interception.begin())
        await arrived.wait()
        beginning.cancel()
        ending = asyncio.ensure_future(here.interception.end())
        await asyncio.sleep(0)
        go_on.set()
        await ending
        assert here.service["spec"]["selector"] == {"app": "web"}


async def test_failure_of_the_api_is_outlived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interception, "RETRY_SECONDS", 0.01)
    async with ground() as here:
        await here.interception.begin()
        here.server.fail(503, times=3)
        await here.interception.end()
        assert here.service["spec"]["selector"] == {"app": "web"}


async def test_service_that_cannot_be_put_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interception, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(interception, "END_SECONDS", 0.2)
    async with ground() as here:
        await here.interception.begin()
        here.server.fail(503, times=1000)
        with pytest.raises(SessionError, match="svc/web could not be put back") as caught:
            await here.interception.end()
        assert "tow recover svc/web" in caught.value.hint


async def test_change_that_was_not_answered_is_not_taken_for_undone() -> None:
    async with ground() as here:
        here.server.faults.append(_fail_patches)
        with pytest.raises(ServerError):
            await here.interception.begin()
        here.server.faults.clear()
        with pytest.raises(SessionError, match="may yet be made"):
            await here.interception.end()
        # It comes late, and is undone by whoever looks next.
        await here.edit(apply(here.service, RECORD))
        await here.interception.end()
        assert here.service["spec"]["selector"] == {"app": "web"}


async def _fail_patches(request: web.Request) -> web.StreamResponse | None:
    return web.Response(status=504) if request.method == "PATCH" else None


async def test_what_somebody_wrote_beside_ours_is_the_original_selector() -> None:
    async with ground() as here:
        await here.interception.begin()
        await here.edit({"spec": {"selector": {"app": "new"}}})
        assert interception.selector(here.service) == {"app": "new"}


async def test_first_session_writes_nothing_on_what_was_taken_over() -> None:
    async with ground() as here:
        await here.interception.begin()
        await here.edit(apply(here.service, OTHER), "towline")
        before = here.service
        await here.interception.end()
        assert here.service == before


async def test_service_that_is_gone_needs_no_undoing() -> None:
    async with ground() as here:
        await here.interception.begin()
        await here.server.store.delete(KEY, {})
        await here.interception.end()


APPLIED = {"spec": {"selector": {"app": "web"}}}
PUT_BACK = {
    "spec": {"selector": {"app": "web", AGENT_LABEL: None}},
    "metadata": {"annotations": {ANNOTATION: None}},
}
TAKEN_OVER = {
    "spec": {"selector": {AGENT_LABEL: "job-2"}},
    "metadata": {"annotations": {ANNOTATION: OTHER.to_json()}},
}


@pytest.mark.parametrize(
    ("change", "words", "selector"),
    [
        (APPLIED, "changed by kubectl", {"app": "web"}),
        (PUT_BACK, "put back by kubectl", {"app": "web"}),
        (TAKEN_OVER, "taken over by joe@desk", {AGENT_LABEL: "job-2"}),
        ({"spec": {"ports": [{"port": 81}]}}, "changed by kubectl", {"app": "web"}),
        ({"metadata": {"annotations": {ANNOTATION: None}}}, "changed by", {"app": "web"}),
    ],
)
async def test_what_others_do_is_told_and_not_overwritten(
    change: dict[str, Any], words: str, selector: dict[str, str]
) -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        await here.interception.begin()
        disturbed = asyncio.ensure_future(here.interception.disturbed())
        await here.edit({"metadata": {"labels": {"harmless": "yes"}}})
        await here.edit(change)
        assert words in (await disturbed).summary
        await here.interception.end()
        assert here.service["spec"]["selector"] == selector


@pytest.mark.parametrize(
    ("manager", "time"),
    [("towline-agent", "2026-01-02T03:05:00Z"), ("kubectl", "2026-01-01T00:00:00Z")],
)
async def test_nobody_else_is_blamed_for_what_the_agent_has_put_back(
    manager: str, time: str
) -> None:
    """Who looks late sees no more than who has changed the service before this session."""
    async with ground() as here, asyncio.timeout(SECONDS):
        await here.interception.begin()
        await here.edit(PUT_BACK, manager, time)
        assert "put back by its agent" in (await here.interception.disturbed()).summary


async def test_deletion_is_told() -> None:
    async with ground() as here, asyncio.timeout(SECONDS):
        await here.interception.begin()
        await here.server.store.delete(KEY, {})
        assert "deleted" in (await here.interception.disturbed()).summary


async def test_taking_over_keeps_the_first_ones_original() -> None:
    async with ground() as here:
        await here.interception.begin()
        seen = here.service
        record = replace(OTHER, selector=interception.selector(seen))
        second = Interception(here.client, SERVICES, seen, record, "svc/web")
        await second.begin()
        await here.interception.end()
        assert here.service["spec"]["selector"] == {AGENT_LABEL: "job-2"}
        await second.end()
        assert here.service["spec"]["selector"] == {"app": "web"}
