"""What `tow list` finds, and makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.features.upkeep.leftovers import (
    AGENT,
    OWNER_NAME,
    PENDING,
    SINCE_TIME,
    Cluster,
    cluster,
)
from towline.agent.telling import tell_users
from towline.cluster.sharing import SHARED
from towline.features.upkeep.listing import Entry, listing
from towline.kube.client import Propagation
from towline.kube.resources import DEPLOYMENTS, PODS, SERVICES


@pytest.fixture
async def place() -> AsyncIterator[Cluster]:
    async with cluster() as made:
        yield made


async def the_entry(place: Cluster, namespace: str | None = "default") -> Entry:
    (entry,) = (await listing(place.client, namespace)).entries
    return entry


async def test_nobody_has_anything(place: Cluster) -> None:
    await place.service()
    await place.deployment()
    assert (await listing(place.client, "default")).entries == []


@pytest.mark.parametrize("namespace", ["default", None])
async def test_exchange_of_a_service(place: Cluster, namespace: str | None) -> None:
    await place.intercepted()
    assert await the_entry(place, namespace) == Entry(
        namespace="default",
        target="svc/web",
        command="exchange",
        mode="selector",
        owner=OWNER_NAME,
        since=SINCE_TIME,
        agent=f"{AGENT}-x",
        state="running",
    )


async def test_mirror_of_a_workload(place: Cluster) -> None:
    await place.deployment()
    await place.intercept(DEPLOYMENTS, role="mirror")
    entry = await the_entry(place)
    assert (entry.target, entry.command, entry.mode) == ("deploy/web", "mirror", "scale")


async def test_preview_has_its_service(place: Cluster) -> None:
    await place.agent(role="preview")
    await place.preview()
    entry = await the_entry(place)
    assert (entry.target, entry.command, entry.mode) == ("svc/mine", "preview", "")


async def test_connect_has_no_target(place: Cluster) -> None:
    await place.agent(role="uplink")
    entry = await the_entry(place)
    assert (entry.target, entry.command, entry.owner) == ("", "connect", OWNER_NAME)


SESSIONS = (
    {"who": "alice@desk", "command": "connect", "since": "2026-05-04T08:12:31+00:00"},
    {"who": "bob@laptop", "command": "proxy", "since": "2026-05-04T08:14:02+00:00"},
)


async def test_agent_that_several_share_is_listed_for_each_of_them(
    place: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    tell_users(SESSIONS[:1])
    tell_users(SESSIONS)
    await place.agent(role=SHARED, log=capsys.readouterr().err)
    entries = (await listing(place.client, "default")).entries
    assert [(each.owner, each.command, each.since) for each in entries] == [
        (each["who"], each["command"], each["since"]) for each in SESSIONS
    ]
    assert {each.mode for each in entries} == {"shared"}


async def test_shared_agent_that_tells_nothing_is_listed_as_its_makers(place: Cluster) -> None:
    await place.agent(role=SHARED, log="towline: the sessions are {]")
    entry = await the_entry(place)
    assert (entry.command, entry.mode, entry.owner) == ("", "shared", OWNER_NAME)


async def test_agent_that_is_gone_is_said(place: Cluster) -> None:
    await place.intercepted()
    await place.delete_job(Propagation.BACKGROUND)
    entry = await the_entry(place)
    assert (entry.target, entry.agent, entry.state) == ("svc/web", "", "gone")


async def test_agent_that_does_not_run_says_what_it_waits_for(place: Cluster) -> None:
    await place.intercepted(status=PENDING)
    assert "waiting for the node to start" in (await the_entry(place)).state


async def test_service_that_somebody_put_back_has_no_traffic_to_give(place: Cluster) -> None:
    await place.intercepted()
    await place.remove_record()
    selector = {"spec": {"selector": {"app": "web", "towline/agent": None}}}
    await place.client.patch(SERVICES, "web", selector, namespace="default")
    entry = await the_entry(place)
    assert (entry.target, entry.state) == ("svc/web", "running, without traffic")


def pod(state: str) -> dict[str, object]:
    name = "towline-alice-2"
    env = [
        {"name": "TOWLINE_OWNER", "value": OWNER_NAME},
        {"name": "TOWLINE_SINCE", "value": SINCE_TIME},
    ]
    others = {"name": "debugger-x"}
    return {
        "metadata": {"name": "web-0"},
        "spec": {"ephemeralContainers": [{"name": name, "env": env}, others]},
        "status": {
            "ephemeralContainerStatuses": [
                {"name": name, "state": {state: {}}},
                {"name": "debugger-x", "state": {"running": {}}},
            ]
        },
    }


async def test_agent_inside_a_pod(place: Cluster) -> None:
    await place.make(PODS, pod("running"))
    assert await the_entry(place) == Entry(
        namespace="default",
        target="pod/web-0",
        command="exchange",
        mode="ephemeral",
        owner=OWNER_NAME,
        since=SINCE_TIME,
        agent="web-0",
        state="running",
    )


async def test_finished_agent_inside_a_pod_is_none(place: Cluster) -> None:
    await place.make(PODS, pod("terminated"))
    assert (await listing(place.client, "default")).entries == []


async def test_what_may_not_be_listed_is_said_and_the_rest_shown(place: Cluster) -> None:
    await place.intercepted()
    place.server.allows = lambda asked: asked["resource"] in ("jobs", "services")
    found = await listing(place.client, "default")
    assert [entry.target for entry in found.entries] == ["svc/web"]
    assert {right.resource for right in found.missing} == {"pods", "deployments", "statefulsets"}


async def test_pod_that_wears_a_workloads_labels_is_still_its_agents(place: Cluster) -> None:
    await place.deployment()
    await place.intercept(DEPLOYMENTS)
    change = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}}
    await place.client.patch(PODS, f"{AGENT}-x", change, namespace="default")
    assert (await the_entry(place)).state == "running"


async def test_agent_in_a_pod_that_no_version_of_ours_would_make_hides_nothing(
    place: Cluster,
) -> None:
    await place.intercepted()
    odd = {"name": "towline-x", "env": [{"name": "TOWLINE_OWNER", "value": "o"}]}
    for argument in ("--intercept=x", "--port=x"):
        name = argument.partition("=")[0].strip("-")
        container = {**odd, "args": [argument]}
        spec = {"containers": [], "ephemeralContainers": [container]}
        await place.make(PODS, {"metadata": {"name": name}, "spec": spec})
    assert (await the_entry(place)).target == "svc/web"
