"""A pod of ours beside a workload's own: what it is like, and that nothing else is touched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.apiserver import ApiServer
from tests.fakes.objectstore import Collection, Key
from towline.cluster.job import AgentSpec
from towline.cluster.workload import BorrowedLabels
from towline.errors import SessionError, UsageError
from towline.features.downlink import manual
from towline.features.downlink.manual import Marked
from towline.features.downlink.mark import VersionMark
from towline.features.downlink.takeover import Takeover, Wanted
from towline.features.local.child import Child
from towline.features.reference import Reference
from towline.kube.client import Client

SECONDS = 20.0
MARK = VersionMark("version", "jane")
SPEC: dict[str, Any] = {
    "containers": [{"name": "app", "ports": [{"name": "http", "containerPort": 8080}]}]
}
LABELS = {"app": "web", "version": "v1", "pod-template-hash": "abc"}
SERVICE = {
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
}
DEPLOYMENT = {
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web", "version": "v1"}}, "spec": SPEC},
    },
}


def pod(name: str, labels: dict[str, str], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {**SPEC, **spec}}


@asynccontextmanager
async def cluster(*pods: dict[str, Any]) -> AsyncIterator[tuple[ApiServer, Client]]:
    async with asyncio.timeout(SECONDS), ApiServer() as server, Client(server.access()) as client:
        await server.add("api/v1", "services", SERVICE, namespace="default")
        await server.add("apis/apps/v1", "deployments", DEPLOYMENT, namespace="default")
        for each in (pod("agent", {"towline/agent": "job", "version": "none"}), *pods):
            await server.add("api/v1", "pods", each, namespace="default")
        yield server, client


async def prepared(client: Client, target: str, *, force: bool = False) -> Takeover:
    wanted = Wanted(
        Reference.parse(target),
        exposed=(),
        strict=False,
        force=force,
        copy=False,
        proxy_protocol=False,
        child=Child(()),
        agent=AgentSpec(name="job", owner="jane@laptop"),
        timeout_seconds=SECONDS,
        mark=MARK,
    )
    return await manual.prepare(client, "default", wanted)


def labels_of(server: ApiServer, name: str) -> dict[str, str]:
    found = server.store.get(Key(Collection("api/v1", "pods"), "default", name))
    return dict(found["metadata"]["labels"])


@pytest.mark.parametrize("target", ["svc/web", "deploy/web"])
async def test_pod_has_the_labels_of_the_others_and_the_mark_once_it_is_ready(target: str) -> None:
    async with cluster(pod("web-0", LABELS)) as (server, client):
        takeover = await prepared(client, target)
        assert [each.listen.number for each in takeover.ports] == [8080]
        assert [each.original for each in takeover.spec.intercepted] == [None]
        assert takeover.spec.companions == ()
        assert takeover.spec.sidecar is None
        assert "version: jane" in takeover.notes[0]
        await takeover.switch.begin("agent")
        wanted = {"towline/agent": "job", "app": "web", "version": "jane"}
        assert labels_of(server, "agent") == wanted
        assert labels_of(server, "web-0") == LABELS


async def test_pod_has_its_own_labels_back_at_the_end() -> None:
    async with cluster() as (server, client):
        marked = Marked(
            BorrowedLabels(client, "default", {"app": "web", "version": "jane"}), spread_seconds=0
        )
        await marked.begin("agent")
        await marked.end()
        assert labels_of(server, "agent") == {"towline/agent": "job", "version": "none"}


@pytest.mark.parametrize("target", ["svc/web", "deploy/web"])
async def test_pod_has_a_sidecar_where_the_others_have_one(target: str) -> None:
    async with cluster(pod("web-0", LABELS, initContainers=[{"name": "istio-proxy"}])) as (_, api):
        assert (await prepared(api, target)).spec.sidecar is not None


async def test_mark_that_somebody_has_is_refused_or_taken() -> None:
    theirs = {"towline/agent": "theirs", "app": "web", "version": "jane"}
    other = pod("other", theirs)
    other["metadata"]["annotations"] = {"towline/owner": "ada@desk"}
    async with cluster(pod("web-0", LABELS), other) as (server, client):
        with pytest.raises(SessionError, match=r"ada@desk has .* version: jane"):
            await prepared(client, "deploy/web")
        await (await prepared(client, "deploy/web", force=True)).switch.begin("agent")
        assert labels_of(server, "other") == {"towline/agent": "theirs"}


# -- the mark


def test_mark_is_a_version_by_the_owners_name_unless_it_says_otherwise() -> None:
    assert VersionMark.parse("", "Ada.L@desk") == VersionMark("version", "ada-l")
    assert VersionMark.parse("v2", "ada@desk") == VersionMark("version", "v2")
    assert VersionMark.parse("kt.io/v:a_1", "ada@desk") == VersionMark("kt.io/v", "a_1")


@given(st.text(max_size=80))
def test_mark_is_a_label_or_refused(text: str) -> None:
    try:
        mark = VersionMark.parse(text, "ada@desk")
    except UsageError:
        return
    assert 0 < len(mark.value) <= 63
    assert mark.value.strip("-_.") == mark.value
    assert " " not in mark.key + mark.value
