"""How a real API server says no, and in what words that is told."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.kube.making import config_map, labelled
from towline.kube.access import Right, missing_rights
from towline.kube.client import Client
from towline.kube.config import Access, ExecPlugin, Impersonation, Tls, User
from towline.kube.errors import (
    AlreadyExists,
    ApiError,
    ConnectionFailed,
    Forbidden,
    Invalid,
    NotFound,
    QuotaExceeded,
    Unauthorized,
)
from towline.kube.resources import (
    CONFIG_MAPS,
    JOBS,
    NAMESPACES,
    PODS,
    RESOURCE_QUOTAS,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from towline.kube.watch import until

pytestmark = pytest.mark.timeout(60)


NOBODY = Impersonation("nobody@example.com")


async def test_a_taken_name_is_already_exists(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAPS, config_map("a"), namespace=namespace)

    with pytest.raises(AlreadyExists, match="The name a is already taken among the configmaps"):
        await client.create(CONFIG_MAPS, config_map("a"), namespace=namespace)


async def test_an_invalid_object_names_its_fields(client: Client, namespace: str) -> None:
    service = labelled("web", spec={"ports": [{"port": 99999}]})

    with pytest.raises(Invalid, match=r"spec.ports\[0\].port: Invalid value"):
        await client.create(SERVICES, service, namespace=namespace)


async def test_a_missing_namespace_is_named(client: Client) -> None:
    with pytest.raises(NotFound, match="There is no namespace no-such-namespace"):
        await client.create(CONFIG_MAPS, config_map("a"), namespace="no-such-namespace")


async def test_a_missing_right_is_named_with_who_lacks_it(
    access: Access, client: Client, namespace: str
) -> None:
    async with Client(acting_as(access, NOBODY)) as nobody:
        with pytest.raises(Forbidden) as caught:
            await nobody.create(JOBS, {"metadata": {"name": "j"}}, namespace=namespace)

    assert caught.value.summary == (
        f"The user nobody@example.com may not create jobs in the namespace {namespace}"
    )


def acting_as(access: Access, who: Impersonation) -> Access:
    return replace(access, user=replace(access.user, impersonation=who))


async def test_rights_are_told_beforehand(access: Access, client: Client, namespace: str) -> None:
    rights = [
        Right("create", "batch", "jobs", namespace=namespace),
        Right("create", "", "pods", "portforward", namespace),
        Right("list", "", "nodes"),
    ]

    assert await missing_rights(client, rights) == []
    async with Client(acting_as(access, NOBODY)) as nobody:
        assert await missing_rights(nobody, rights) == rights


async def test_a_full_quota_is_named(client: Client, namespace: str) -> None:
    quota = labelled("small", spec={"hard": {"count/configmaps": "0"}})
    await client.create(RESOURCE_QUOTAS, quota, namespace=namespace)
    await until(
        client,
        RESOURCE_QUOTAS,
        "small",
        lambda value: value is not None and "hard" in value.get("status", {}),
        namespace=namespace,
    )

    with pytest.raises(QuotaExceeded, match="The quota small of the namespace"):
        await client.create(CONFIG_MAPS, config_map("a"), namespace=namespace)


async def test_a_violated_pod_security_standard_is_named(client: Client, namespace: str) -> None:
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    await client.patch(NAMESPACES, namespace, {"metadata": {"labels": label}})
    pod = {
        "metadata": {"name": "p"},
        "spec": {
            "containers": [{"name": "c", "image": "i", "securityContext": {"privileged": True}}]
        },
    }

    async def create() -> None:
        # The admission's own view of the namespace is a moment behind, and the service account
        # of a new namespace may not be there yet.
        while True:
            try:
                await client.create(PODS, pod, namespace=namespace, dry_run=True)
            except Forbidden as error:
                if "serviceaccount" not in error.summary:
                    raise
            await asyncio.sleep(0.1)

    with pytest.raises(Forbidden, match=f"Pod Security Standard of the namespace {namespace}"):
        await create()
    await client.patch(NAMESPACES, namespace, {"metadata": {"labels": dict.fromkeys(label)}})


async def test_a_namespace_that_ends_is_told_as_such(client: Client) -> None:
    name = f"kube-{secrets.token_hex(4)}"
    await client.create(NAMESPACES, {"metadata": {"name": name}})
    # Keeps the namespace from ending too soon.
    held = config_map("held", metadata={"finalizers": ["example.com/hold"]})
    await client.create(CONFIG_MAPS, held, namespace=name)
    await client.delete(NAMESPACES, name)
    try:
        with pytest.raises(Forbidden, match=f"The namespace {name} is being deleted"):
            await client.create(CONFIG_MAPS, config_map("a"), namespace=name)
    finally:
        change = {"metadata": {"finalizers": None}}
        await client.patch(CONFIG_MAPS, "held", change, namespace=name)
        await until(client, NAMESPACES, name, lambda found: found is None)


async def test_a_wrong_token_is_told_with_whose_it_is(access: Access) -> None:
    user = User(label='the user "dev" in /k', token="wrong")
    async with Client(replace(access, user=user, reload=None)) as client:
        with pytest.raises(Unauthorized, match='the credentials of the user "dev" in /k'):
            await client.list(NAMESPACES)


async def test_an_old_token_of_a_plugin_is_replaced_by_its_next(
    access: Access, client: Client, namespace: str, tmp_path: Path
) -> None:
    await client.create(SERVICE_ACCOUNTS, labelled("robot"), namespace=namespace)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await client.create(
        SERVICE_ACCOUNTS, request, namespace=namespace, name="robot", subresource="token"
    )
    user = plugin_user(tmp_path, "not a token", answer["status"]["token"])

    async with Client(replace(access, user=user, reload=None)) as robot:
        with pytest.raises(Forbidden, match=f"system:serviceaccount:{namespace}:robot may not"):
            await robot.list(CONFIG_MAPS, namespace=namespace)

    assert (tmp_path / "runs").read_text().split() == ["run", "run"]


def plugin_user(directory: Path, first: str, then: str) -> User:
    """A user whose plugin gives one token when it is run first, and another one from then on."""
    for name, token in (("first", first), ("then", then)):
        credential = {
            "kind": "ExecCredential",
            "apiVersion": "client.authentication.k8s.io/v1",
            "status": {"token": token},
        }
        (directory / name).write_text(json.dumps(credential))
    script = (
        f"cd {directory}; echo run >> runs; "
        'if [ "$(wc -l < runs)" = 1 ]; then cat first; else cat then; fi'
    )
    plugin = ExecPlugin("/bin/sh", ("-c", script), interactive_mode="Never")
    return User(label="the user of the test", exec=plugin)


async def test_a_server_that_is_not_the_one_of_the_kubeconfig_gets_no_credentials(
    access: Access,
) -> None:
    # The system's authorities know nothing of the lab's.
    async with Client(replace(access, tls=Tls())) as client:
        with pytest.raises(ConnectionFailed, match="could not prove who it is"):
            await client.list(NAMESPACES)


async def test_errors_say_what_was_asked_for(client: Client, namespace: str) -> None:
    with pytest.raises(ApiError) as caught:
        await client.get(PODS, "none", namespace=namespace)

    error = caught.value
    assert error.action is not None
    assert str(error.action) == f"get pods in the namespace {namespace}"
    assert error.status is not None
    assert (error.status.code, error.status.reason) == (404, "NotFound")
    assert (error.status.kind, error.status.name) == ("pods", "none")
