"""The table of a mesh in its service's record: written by many, never over one another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fakes.apiserver import ApiServer
from tests.fakes.objectstore import Collection, Key
from tests.fakes.patching import merge
from towline.agent.undo import AGENT_LABEL, ANNOTATION, Record, apply, of, undo
from towline.errors import SessionError
from towline.features.downlink.participation import (
    NotSharedError,
    Participation,
    meshed,
    with_table,
)
from towline.kube.client import Client
from towline.routing.protocols import Speaks, ToldBy
from towline.routing.rules import Match
from towline.routing.table import Participant, RoutedPort, Table
from towline.wire.target import Port, Target

KEY = Key(Collection("api/v1", "services"), "default", "web")
PORTS = (RoutedPort(80, Speaks.HTTP, ToldBy.NAME, 19001, Target("twin", 80)),)
RECORD = Record("job-1", "ada@laptop", "now", {"app": "web"})
SECONDS = 20.0


def person(name: str) -> Participant:
    rules = (Match.parse(f"header:x-user={name}"),)
    return Participant(name, f"{name}@laptop", "now", rules, {Port(80): 0})


@dataclass
class Ground:
    server: ApiServer
    client: Client

    @property
    def service(self) -> dict[str, Any]:
        return self.server.store.get(KEY)

    @property
    def ids(self) -> set[str]:
        found = meshed(self.service)
        assert found
        return {each.id for each in found.table.participants}

    async def edit(self, change: dict[str, Any] | None) -> None:
        assert change
        await self.server.store.update(KEY, merge(self.service, change))

    def part(self, job: str = "job-1") -> Participation:
        return Participation(self.client, "default", "web", job, Table(PORTS))


@asynccontextmanager
async def ground(*names: str) -> AsyncIterator[Ground]:
    """A service that these share."""
    async with (
        asyncio.timeout(SECONDS),
        ApiServer() as server,
        Client(server.access()) as client,
    ):
        service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}}}
        await server.add("api/v1", "services", service, namespace="default")
        made = Ground(server, client)
        table = Table(PORTS)
        for name in names:
            table = table.joining(person(name))
        await made.edit(apply(made.service, with_table(RECORD, table, 7070)))
        yield made


async def test_all_who_join_at_once_are_in_it_each_with_slots_of_their_own() -> None:
    names = [f"guest-{number}" for number in range(8)]
    async with ground("ada") as made:
        parts = [made.part() for _ in names]
        await asyncio.gather(
            *(
                part.change(lambda table, name=name: table.joining(person(name)))
                for part, name in zip(parts, names, strict=True)
            )
        )
        assert made.ids == {"ada", *names}
        found = meshed(made.service)
        assert found
        assert found.table.revision == 1 + len(names)
        assert found.link_port == 7070
        slots = [each.slots[Port(80)] for each in found.table.participants]
        assert len(set(slots)) == len(slots)


async def test_who_leaves_is_marked_and_the_last_puts_the_service_back() -> None:
    async with ground("ada", "bob") as made:
        left = await made.part().leave("ada")
        assert left
        assert [each.id for each in left.present()] == ["bob"]
        assert made.service["spec"]["selector"] == {AGENT_LABEL: "job-1"}
        assert await made.part().leave("bob") is None
        assert made.service["spec"]["selector"] == {"app": "web"}
        assert ANNOTATION not in made.service["metadata"].get("annotations", {})


async def test_of_all_who_leave_at_once_one_is_the_last() -> None:
    names = [f"guest-{number}" for number in range(5)]
    async with ground(*names) as made:
        left = await asyncio.gather(*(made.part().leave(name) for name in names))
        assert left.count(None) == 1
        assert made.service["spec"]["selector"] == {"app": "web"}


async def test_either_the_joiner_is_in_or_the_last_one_has_put_it_back() -> None:
    for _ in range(10):
        async with ground("ada") as made:
            joined, left = await asyncio.gather(
                made.part().change(lambda table: table.joining(person("bob"))),
                made.part().leave("ada"),
                return_exceptions=True,
            )
            if isinstance(joined, NotSharedError):
                assert left is None
                assert made.service["spec"]["selector"] == {"app": "web"}
            else:
                assert isinstance(left, Table)
                assert made.service["spec"]["selector"] == {AGENT_LABEL: "job-1"}
                assert "bob" in made.ids


async def test_nothing_is_written_of_a_mesh_that_is_another_by_now() -> None:
    async with ground("ada") as made:
        version = made.service["metadata"]["resourceVersion"]
        with pytest.raises(NotSharedError):
            await made.part("job-0").change(lambda table: table.joining(person("bob")))
        assert await made.part("job-0").leave("bob") is None
        assert made.service["metadata"]["resourceVersion"] == version


async def test_what_changes_nothing_is_not_written() -> None:
    async with ground("ada") as made:
        version = made.service["metadata"]["resourceVersion"]
        await made.part().change(lambda table: table)
        assert made.service["metadata"]["resourceVersion"] == version


async def test_newest_table_that_was_seen_is_known() -> None:
    async with ground("ada") as made:
        part = made.part()
        old = made.service
        await made.part().change(lambda table: table.joining(person("bob")))
        part.saw(made.service)
        part.saw(old)
        assert [each.id for each in part.table.participants] == ["ada", "bob"]


async def test_the_agent_undoes_what_a_mesh_has_written_whatever_its_table_is() -> None:
    async with ground("ada") as made:
        await made.edit(undo(made.service, RECORD))
        assert made.service["spec"]["selector"] == {"app": "web"}
        assert of(made.service) is None


async def test_table_of_another_version_is_told() -> None:
    async with ground("ada") as made:
        record = Record("job-1", "ada@laptop", "now", {"app": "web"}, mesh={"table": 7})
        await made.edit({"metadata": {"annotations": {ANNOTATION: record.to_json()}}})
        with pytest.raises(SessionError, match="another version"):
            meshed(made.service)
