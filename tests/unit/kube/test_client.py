from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes.apiserver import ApiServer
from towline.kube.client import Client, PatchKind, Propagation
from towline.kube.config import Impersonation, User
from towline.kube.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    ServerError,
    Unauthorized,
)
from towline.kube.resources import CONFIG_MAPS, JOBS, NAMESPACES, PODS


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": name}},
        "data": data,
    }


async def test_create_then_get_gives_the_object_with_its_identity() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        made = await client.create(CONFIG_MAPS, config_map("a", k="v"), namespace="default")

        read = await client.get(CONFIG_MAPS, "a", namespace="default")

        assert read == made
        assert read["data"] == {"k": "v"}
        assert read["metadata"]["uid"]
        assert client.request_count == 2


async def test_requests_keep_the_path_prefix_of_the_server() -> None:
    async with ApiServer(prefix="/k8s/clusters/c-1") as server, Client(server.access()) as client:
        assert (await client.get(NAMESPACES, "default"))["metadata"]["name"] == "default"
        assert server.requests[-1].path == "/k8s/clusters/c-1/api/v1/namespaces/default"


async def test_requests_name_towline_as_user_agent() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        await client.get_raw("/version")

        assert server.requests[-1].headers["User-Agent"].startswith("towline/")


async def test_get_raw_gives_the_bytes() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        assert b"gitVersion" in await client.get_raw("/version")


async def test_list_goes_through_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towline.kube.client._PAGE_ITEMS", 3)
    async with ApiServer() as server, Client(server.access()) as client:
        for number in range(8):
            await server.add("api/v1", "configmaps", config_map(f"c{number}"), namespace="default")

        listing = await client.list(CONFIG_MAPS, namespace="default")

        assert [item["metadata"]["name"] for item in listing.items] == [f"c{n}" for n in range(8)]
        assert listing.resource_version == str(server.store.version)
        assert client.request_count == 3


async def test_list_starts_again_without_pages_when_they_expire(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("towline.kube.client._PAGE_ITEMS", 2)
    async with ApiServer() as server, Client(server.access()) as client:
        for number in range(3):
            await server.add("api/v1", "configmaps", config_map(f"c{number}"), namespace="default")

        async def forget_between_pages(request: Any) -> None:
            if "continue" in request.query:
                await server.store.forget()

        server.faults.append(forget_between_pages)

        listing = await client.list(CONFIG_MAPS, namespace="default")

        assert len(listing.items) == 3
        assert "limit" not in server.requests[-1].query


async def test_list_of_all_namespaces_goes_by_selectors() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        for namespace in ("default", "kube-system"):
            for name in ("a", "b"):
                await server.add("api/v1", "configmaps", config_map(name), namespace=namespace)

        by_label = await client.list(CONFIG_MAPS, labels="app in (a)")
        by_field = await client.list(CONFIG_MAPS, fields="metadata.namespace=default")

        assert {i["metadata"]["namespace"] for i in by_label.items} == {"default", "kube-system"}
        assert {i["metadata"]["name"] for i in by_label.items} == {"a"}
        assert {i["metadata"]["name"] for i in by_field.items} == {"a", "b"}


async def test_dry_run_creates_nothing() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        await client.create(CONFIG_MAPS, config_map("a"), namespace="default", dry_run=True)

        with pytest.raises(NotFound):
            await client.get(CONFIG_MAPS, "a", namespace="default")


async def test_create_of_an_existing_name_raises_already_exists() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        await client.create(CONFIG_MAPS, config_map("a"), namespace="default")

        with pytest.raises(AlreadyExists) as caught:
            await client.create(CONFIG_MAPS, config_map("a"), namespace="default")

        assert caught.value.summary == (
            "The name a is already taken among the configmaps in the namespace default"
        )


async def test_create_in_a_missing_namespace_names_the_namespace() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        with pytest.raises(NotFound) as caught:
            await client.create(CONFIG_MAPS, config_map("a"), namespace="nowhere")

        assert caught.value.summary == "There is no namespace nowhere"


async def test_create_of_an_invalid_object_names_the_field() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        with pytest.raises(Invalid) as caught:
            await client.create(PODS, {"metadata": {}}, namespace="default")

        assert "metadata.name" in caught.value.summary


async def test_merge_patch_changes_and_removes_fields() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        await client.create(CONFIG_MAPS, config_map("a", x="1", y="2"), namespace="default")

        change = {"data": {"x": None, "z": "3"}}
        changed = await client.patch(CONFIG_MAPS, "a", change, namespace="default")

        assert changed["data"] == {"y": "2", "z": "3"}


async def test_json_patch_sends_a_list_of_operations() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        await client.create(CONFIG_MAPS, config_map("a", x="1"), namespace="default")
        change = [
            {"op": "test", "path": "/data/x", "value": "1"},
            {"op": "replace", "path": "/data/x", "value": "2"},
        ]

        changed = await client.patch(
            CONFIG_MAPS, "a", change, namespace="default", kind=PatchKind.JSON
        )

        assert changed["data"] == {"x": "2"}


async def test_apply_creates_what_is_not_there() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        made = await client.patch(
            CONFIG_MAPS, "a", config_map("a", x="1"), namespace="default", kind=PatchKind.APPLY
        )

        assert made["data"] == {"x": "1"}
        assert server.requests[-1].query == {"fieldManager": "towline", "force": "false"}


async def test_patch_with_an_old_version_raises_conflict() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        old = await client.create(CONFIG_MAPS, config_map("a"), namespace="default")
        await client.patch(CONFIG_MAPS, "a", {"data": {"by": "other"}}, namespace="default")
        version = old["metadata"]["resourceVersion"]

        with pytest.raises(Conflict):
            await client.patch(
                CONFIG_MAPS,
                "a",
                {"metadata": {"resourceVersion": version}, "data": {"by": "me"}},
                namespace="default",
            )


async def test_replace_with_an_old_version_raises_conflict() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        old = await client.create(CONFIG_MAPS, config_map("a"), namespace="default")
        new = await client.replace(CONFIG_MAPS, old | {"data": {"n": "1"}}, namespace="default")

        with pytest.raises(Conflict):
            await client.replace(CONFIG_MAPS, old | {"data": {"n": "2"}}, namespace="default")

        assert new["data"] == {"n": "1"}


@pytest.mark.parametrize(
    ("propagation", "left"), [(Propagation.BACKGROUND, 0), (Propagation.ORPHAN, 1)]
)
async def test_delete_with_propagation_decides_on_dependents(
    propagation: Propagation, left: int
) -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        job = await client.create(JOBS, {"metadata": {"name": "j"}}, namespace="default")
        owner = {"kind": "Job", "name": "j", "uid": job["metadata"]["uid"]}
        pod = {"metadata": {"name": "j-1", "ownerReferences": [owner]}}
        await client.create(PODS, pod, namespace="default")

        await client.delete(JOBS, "j", namespace="default", propagation=propagation)

        assert len((await client.list(PODS, namespace="default")).items) == left


async def test_delete_of_another_object_of_that_name_raises_conflict() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        await client.create(CONFIG_MAPS, config_map("a"), namespace="default")

        with pytest.raises(Conflict):
            await client.delete(CONFIG_MAPS, "a", namespace="default", uid="somebody-else")

        assert await client.get(CONFIG_MAPS, "a", namespace="default")


async def test_what_rbac_forbids_is_named_by_verb_resource_and_namespace() -> None:
    async with (
        ApiServer(allows=lambda asked: asked["verb"] != "create") as server,
        Client(server.access()) as client,
    ):
        with pytest.raises(Forbidden) as caught:
            await client.create(JOBS, {"metadata": {"name": "j"}}, namespace="default")

        assert caught.value.summary == (
            "The user tester may not create jobs in the namespace default"
        )
        assert "kubectl auth can-i create jobs.batch -n default" in caught.value.hint
        assert caught.value.exit_code == 5


async def test_a_wrong_token_raises_unauthorized_and_names_the_user() -> None:
    async with ApiServer(token="right") as server:
        user = User(label='the user "dev" in /k', token="wrong")
        async with Client(server.access(user=user)) as client:
            with pytest.raises(Unauthorized) as caught:
                await client.list(PODS)

    # Over plain HTTP no credentials are shown at all.
    assert 'the user "dev" in /k: there are none' in caught.value.summary


async def test_impersonation_is_sent_with_each_of_its_values() -> None:
    wanted = Impersonation("jane", "u-1", ("dev", "ops"), (("acme.com/team", ("red",)),))
    received: list[list[str]] = []
    async with ApiServer() as server:

        async def note(request: Any) -> None:
            received.append(request.headers.getall("Impersonate-Group"))

        server.faults.append(note)
        async with Client(server.access(user=User(impersonation=wanted))) as client:
            await client.list(PODS)
        headers = server.requests[-1].headers

    assert received == [["dev", "ops"]]
    assert headers["Impersonate-User"] == "jane"
    assert headers["Impersonate-Uid"] == "u-1"
    assert headers["Impersonate-Extra-acme.com%2Fteam"] == "red"


async def test_an_answer_that_is_no_json_says_what_may_be_in_the_way() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        server.fail(200, message="<html>please sign in</html>")

        with pytest.raises(ServerError) as caught:
            await client.list(PODS)

        assert "does not answer as a Kubernetes API" in caught.value.summary


async def test_an_unknown_resource_type_raises_not_found() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        with pytest.raises(NotFound) as caught:
            await client.get_raw("/no/such/thing")

        assert "/no/such/thing" in caught.value.summary


async def test_gone_is_raised_for_a_version_that_is_no_longer_kept() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        server.fail(410)

        with pytest.raises(Gone):
            await client.get(NAMESPACES, "default")


async def test_many_requests_at_once_all_get_their_own_answer() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        for number in range(50):
            await server.add("api/v1", "configmaps", config_map(f"c{number}"), namespace="default")

        found = await asyncio.gather(
            *(client.get(CONFIG_MAPS, f"c{number}", namespace="default") for number in range(50))
        )

        assert [value["metadata"]["name"] for value in found] == [f"c{n}" for n in range(50)]
