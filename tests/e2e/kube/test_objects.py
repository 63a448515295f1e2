"""Objects and watches on a real API server: what only that one knows how to answer."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from tests.e2e.kube.making import MADE_SELECTOR, config_map, labelled
from towline.kube import watch as watching
from towline.kube.client import Client, PatchKind, Propagation
from towline.kube.errors import (
    Conflict,
    Invalid,
    NotFound,
)
from towline.kube.resources import (
    CONFIG_MAPS,
    SERVICES,
    Object,
)
from towline.kube.watch import EventType, until

pytestmark = pytest.mark.timeout(60)


async def test_an_object_lives_through_all_verbs(client: Client, namespace: str) -> None:
    made = await client.create(CONFIG_MAPS, config_map("a", data={"n": "1"}), namespace=namespace)
    read = await client.get(CONFIG_MAPS, "a", namespace=namespace)
    patched = await client.patch(
        CONFIG_MAPS, "a", {"data": {"n": None, "m": "2"}}, namespace=namespace
    )
    replaced = await client.replace(
        CONFIG_MAPS, {**patched, "data": {"m": "3"}}, namespace=namespace
    )
    listed = await client.list(CONFIG_MAPS, namespace=namespace, labels=MADE_SELECTOR)
    await client.delete(CONFIG_MAPS, "a", namespace=namespace)

    assert read == made
    assert patched["data"] == {"m": "2"}
    assert replaced["data"] == {"m": "3"}
    assert [item["data"] for item in listed.items] == [{"m": "3"}]
    with pytest.raises(NotFound, match=f"no a among the configmaps in the namespace {namespace}"):
        await client.get(CONFIG_MAPS, "a", namespace=namespace)


async def test_of_many_writers_from_one_version_one_wins(client: Client, namespace: str) -> None:
    made = await client.create(CONFIG_MAPS, config_map("a"), namespace=namespace)
    version = {"resourceVersion": made["metadata"]["resourceVersion"]}

    async def write(number: int) -> bool:
        change = {"metadata": version, "data": {"by": str(number)}}
        try:
            await client.patch(CONFIG_MAPS, "a", change, namespace=namespace)
        except Conflict:
            return False
        return True

    won = await asyncio.gather(*(write(number) for number in range(8)))

    assert won.count(True) == 1
    read = await client.get(CONFIG_MAPS, "a", namespace=namespace)
    assert read["data"] == {"by": str(won.index(True))}


async def test_a_json_patch_whose_test_fails_changes_nothing(
    client: Client, namespace: str
) -> None:
    await client.create(CONFIG_MAPS, config_map("a", data={"n": "1"}), namespace=namespace)
    change = [
        {"op": "test", "path": "/data/n", "value": "2"},
        {"op": "replace", "path": "/data/n", "value": "3"},
    ]

    with pytest.raises(Invalid):
        await client.patch(CONFIG_MAPS, "a", change, namespace=namespace, kind=PatchKind.JSON)

    assert (await client.get(CONFIG_MAPS, "a", namespace=namespace))["data"] == {"n": "1"}


async def test_a_strategic_patch_merges_ports_by_number(client: Client, namespace: str) -> None:
    ports = [{"name": "http", "port": 80}]
    service = labelled("web", spec={"clusterIP": "None", "ports": ports})
    await client.create(SERVICES, service, namespace=namespace)
    change = {"spec": {"ports": [{"name": "admin", "port": 81}]}}

    changed = await client.patch(
        SERVICES, "web", change, namespace=namespace, kind=PatchKind.STRATEGIC
    )

    assert {port["port"] for port in changed["spec"]["ports"]} == {80, 81}


async def test_apply_takes_fields_of_others_only_by_force(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAPS, config_map("a", data={"n": "1"}), namespace=namespace)
    mine = config_map("a", data={"n": "2"})

    with pytest.raises(Conflict):
        await client.patch(CONFIG_MAPS, "a", mine, namespace=namespace, kind=PatchKind.APPLY)
    forced = await client.patch(
        CONFIG_MAPS, "a", mine, namespace=namespace, kind=PatchKind.APPLY, force=True
    )

    assert forced["data"] == {"n": "2"}


async def test_a_watch_sees_everything_once_through_many_connections(
    client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_SHORTEST_WATCH_SECONDS", 1)
    monkeypatch.setattr(watching, "_LONGEST_WATCH_SECONDS", 1)
    selected = {"namespace": namespace, "labels": MADE_SELECTOR}
    names = [f"c{number}" for number in range(12)]

    async def change() -> None:
        for name in names:
            await client.create(CONFIG_MAPS, config_map(name), namespace=namespace)
            await client.patch(CONFIG_MAPS, name, {"data": {"n": "1"}}, namespace=namespace)
            # So that the watch's connection ends and begins several times meanwhile.
            await asyncio.sleep(0.3)
        await client.delete(CONFIG_MAPS, names[0], namespace=namespace)

    seen = []
    async with (
        asyncio.TaskGroup() as group,
        aclosing(watching.watch(client, CONFIG_MAPS, **selected)) as events,
    ):
        async for event in events:
            if event.type is EventType.SYNCED:
                group.create_task(change())
                continue
            seen.append((event.type, event.object["metadata"]["name"]))
            if event.type is EventType.DELETED:
                break

    assert seen == [
        *((kind, name) for name in names for kind in (EventType.ADDED, EventType.MODIFIED)),
        (EventType.DELETED, names[0]),
    ]


async def test_a_watch_goes_on_from_the_version_of_an_object(
    client: Client, namespace: str
) -> None:
    made = await client.create(CONFIG_MAPS, config_map("a"), namespace=namespace)
    await client.patch(CONFIG_MAPS, "a", {"data": {"n": "1"}}, namespace=namespace)
    before = client.request_count

    found = await until(
        client,
        CONFIG_MAPS,
        "a",
        lambda value: value is not None and "data" in value,
        namespace=namespace,
        since=made["metadata"]["resourceVersion"],
    )

    assert found is not None
    assert found["data"] == {"n": "1"}
    assert client.request_count == before + 1


async def test_pages_give_every_object_once(
    client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline.kube.client._PAGE_ITEMS", 2)
    for number in range(5):
        await client.create(CONFIG_MAPS, config_map(f"c{number}"), namespace=namespace)

    listed = await client.list(CONFIG_MAPS, namespace=namespace, labels=MADE_SELECTOR)

    assert [item["metadata"]["name"] for item in listed.items] == [f"c{n}" for n in range(5)]
    assert listed.resource_version


async def owner_with_dependent(client: Client, namespace: str) -> Object:
    owner = await client.create(CONFIG_MAPS, config_map("owner"), namespace=namespace)
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }
    dependent = config_map("dependent", metadata={"ownerReferences": [reference]})
    await client.create(CONFIG_MAPS, dependent, namespace=namespace)
    return owner


@pytest.mark.parametrize("propagation", [Propagation.BACKGROUND, Propagation.FOREGROUND])
async def test_what_an_object_owns_goes_with_it(
    client: Client, namespace: str, propagation: Propagation
) -> None:
    await owner_with_dependent(client, namespace)

    await client.delete(CONFIG_MAPS, "owner", namespace=namespace, propagation=propagation)

    for name in ("owner", "dependent"):
        await until(client, CONFIG_MAPS, name, lambda value: value is None, namespace=namespace)


async def test_what_an_object_owns_may_be_left_behind(client: Client, namespace: str) -> None:
    await owner_with_dependent(client, namespace)

    await client.delete(CONFIG_MAPS, "owner", namespace=namespace, propagation=Propagation.ORPHAN)

    await until(client, CONFIG_MAPS, "owner", lambda value: value is None, namespace=namespace)
    left = await client.get(CONFIG_MAPS, "dependent", namespace=namespace)
    assert "ownerReferences" not in left["metadata"]


async def test_only_the_very_object_is_deleted(client: Client, namespace: str) -> None:
    old = await client.create(CONFIG_MAPS, config_map("a"), namespace=namespace)
    uid = old["metadata"]["uid"]
    await client.delete(CONFIG_MAPS, "a", namespace=namespace, uid=uid)
    await client.create(CONFIG_MAPS, config_map("a"), namespace=namespace)

    with pytest.raises(Conflict):
        await client.delete(CONFIG_MAPS, "a", namespace=namespace, uid=uid)
