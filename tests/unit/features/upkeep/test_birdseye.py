"""What `tow birdseye` sees, and makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.features.upkeep.leftovers import (
    AGENT,
    OWNER_NAME,
    SINCE_TIME,
    Cluster,
    cluster,
)
from towline.agent.telling import AWAY, BACK, GONE, tell_users
from towline.agent.undo import ANNOTATION
from towline.cluster.sharing import SHARED
from towline.features.upkeep.birdseye import Sight, Use, birdseye
from towline.features.upkeep.presence import Whereabouts
from towline.kube.client import Propagation
from towline.kube.resources import DAEMON_SETS, JOBS, PODS, SERVICES, Object

CONTAINER = "towline-alice-2"


@pytest.fixture
async def place() -> AsyncIterator[Cluster]:
    async with cluster() as made:
        yield made


async def seen(place: Cluster, namespace: str | None = "default") -> dict[str, list[Use]]:
    view = await birdseye(place.client, namespace)
    return {sight.target: list(sight.uses) for sight in view.sights}


async def the_use(place: Cluster, target: str) -> Use:
    (use,) = (await seen(place))[target]
    return use


@pytest.mark.parametrize("namespace", ["default", None])
async def test_all_services_and_workloads_are_shown(place: Cluster, namespace: str | None) -> None:
    await place.service()
    await place.deployment()
    await place.make(DAEMON_SETS, {"metadata": {"name": "each"}, "spec": {}})
    view = await birdseye(place.client, namespace)
    targets = ("deploy/web", "ds/each", "svc/web")
    assert view.sights == [Sight("default", target, []) for target in targets]
    assert (view.missing, view.unasked) == ([], [])


async def test_use_of_a_service(place: Cluster) -> None:
    await place.intercepted()
    assert await seen(place) == {
        "svc/web": [
            Use(
                command="exchange",
                mode="selector",
                rules=(),
                owner=OWNER_NAME,
                since=SINCE_TIME,
                agents=(f"{AGENT}-x",),
                laptop=Whereabouts.THERE,
                why="its session is there, or may come back",
                left=False,
            )
        ]
    }


async def test_who_connects_has_no_target(place: Cluster) -> None:
    await place.agent(role="uplink")
    assert (await the_use(place, "")).command == "connect"


async def test_service_of_a_preview_is_that_of_its_session(place: Cluster) -> None:
    await place.agent(role="preview")
    await place.preview()
    assert list(await seen(place)) == ["svc/mine"]


@pytest.mark.parametrize(
    ("log", "laptop", "left"),
    [
        (AWAY, Whereabouts.AWAY, False),
        (f"{AWAY}\n{BACK}", Whereabouts.THERE, False),
        (f"{AWAY}\n{GONE}\nanything", Whereabouts.GONE, True),
    ],
)
async def test_agent_tells_where_its_session_is(
    place: Cluster, log: str, laptop: Whereabouts, left: bool
) -> None:
    await place.intercepted(log=log)
    use = await the_use(place, "svc/web")
    assert (use.laptop, use.left) == (laptop, left)


async def test_what_an_agent_puts_back_itself_is_not_left_behind(place: Cluster) -> None:
    await place.intercepted(log=GONE)
    job = await place.get(JOBS, AGENT)
    job["spec"]["template"]["spec"]["serviceAccountName"] = AGENT
    change = {"spec": {"template": job["spec"]["template"]}}
    await place.client.patch(JOBS, AGENT, change, namespace="default")
    use = await the_use(place, "svc/web")
    assert (use.laptop, use.left) == (Whereabouts.GONE, False)


async def test_what_has_no_agent_any_more_was_left_behind_by_its_owner(place: Cluster) -> None:
    await place.intercepted()
    await place.delete_job(Propagation.BACKGROUND)
    use = await the_use(place, "svc/web")
    assert (use.owner, use.laptop, use.left) == (OWNER_NAME, Whereabouts.GONE, True)


@pytest.mark.parametrize(
    ("propagation", "targets"), [(Propagation.BACKGROUND, []), (Propagation.ORPHAN, [""])]
)
async def test_what_kubernetes_removes_anyway_was_not_left_behind(
    place: Cluster, propagation: Propagation, targets: list[str]
) -> None:
    await place.agent()
    pod = await place.get(PODS, f"{AGENT}-x")
    await place.delete_job(propagation)
    if propagation is Propagation.BACKGROUND:  # it is there for a moment longer
        await place.make(PODS, pod)
    assert list(await seen(place)) == targets


def participant(name: str, rule: str, slot: int, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "owner": f"{name}@laptop",
        "since": SINCE_TIME,
        "match": [rule],
        "slots": {"80/TCP": slot},
        **more,
    }


async def mesh(place: Cluster, *participants: dict[str, Any], log: str = "") -> None:
    """The service web, which some share."""
    record = await place.intercepted(log=log, role="mesh")
    original = {"host": "10.0.0.1", "port": 80}
    port = {"port": 80, "protocol": "http", "told_by": "name", "fallback": 1, "original": original}
    table = {"revision": 1, "ports": [port], "participants": participants, "link": 7070}
    text = replace(record, mesh=table).to_json()
    change = {"metadata": {"annotations": {ANNOTATION: text}}}
    await place.client.patch(SERVICES, "web", change, namespace="default")


async def test_all_who_share_a_service_are_shown_with_their_rules(place: Cluster) -> None:
    await mesh(
        place,
        participant("ada", "header:x-user=ada", 20001),
        participant("bob", "path^=/api/,method=POST", 20002, copy=True),
        participant("eve", "host=x", 20003, leaving=True),
    )
    ada, bob = (await seen(place))["svc/web"]
    assert (ada.command, ada.owner, ada.rules) == ("mesh", "ada@laptop", ("header:x-user=ada",))
    assert (bob.command, bob.rules) == ("mirror", ("path^=/api/,method=POST",))
    assert {use.laptop for use in (ada, bob)} == {Whereabouts.THERE}


async def test_who_of_them_is_away_is_told(place: Cluster) -> None:
    people = participant("ada", "host=a", 20001), participant("bob", "host=b", 20002)
    await mesh(place, *people, log="towline: the session of port 20002 is away")
    ada, bob = (await seen(place))["svc/web"]
    assert (ada.laptop, bob.laptop) == (Whereabouts.THERE, Whereabouts.AWAY)


async def test_who_has_a_pod_among_those_of_a_service_is_at_it(place: Cluster) -> None:
    await place.service()
    await place.service("api", selector={"app": "web", "tier": "api"})
    await place.agent(role="mesh")
    change = {"metadata": {"labels": {"app": "web", "version": "ada"}}}
    await place.client.patch(PODS, f"{AGENT}-x", change, namespace="default")
    found = await seen(place)
    assert (found["svc/api"], set(found)) == ([], {"svc/web", "svc/api"})
    assert [(use.command, use.mode) for use in found["svc/web"]] == [("mesh", "manual")]


async def test_mesh_of_another_version_is_shown_as_one(place: Cluster) -> None:
    await mesh(place, {"id": 7})
    (use,) = (await seen(place))["svc/web"]
    assert (use.command, use.owner) == ("mesh", OWNER_NAME)


def pod(name: str, *, owner: Object | None = None, state: str = "running", **env: str) -> Object:
    told = {"TOWLINE_OWNER": OWNER_NAME, "TOWLINE_SINCE": SINCE_TIME, **env}
    container = {
        "name": CONTAINER,
        "env": [{"name": key, "value": value} for key, value in told.items()],
    }
    return {
        "metadata": {
            "name": name,
            "labels": {"pod-template-hash": "5d4f"},
            "ownerReferences": [{"controller": True, **owner}] if owner else [],
        },
        "spec": {"ephemeralContainers": [container]},
        "status": {"ephemeralContainerStatuses": [{"name": CONTAINER, "state": {state: {}}}]},
    }


async def inside(place: Cluster, *pods: Object, log: str = "") -> None:
    for each in pods:
        await place.make(PODS, each)
        place.logs[each["metadata"]["name"]] = log


@pytest.mark.parametrize(
    ("owner", "target"),
    [
        ({"kind": "ReplicaSet", "name": "web-5d4f"}, "deploy/web"),
        ({"kind": "StatefulSet", "name": "db"}, "sts/db"),
        ({"kind": "DaemonSet", "name": "each"}, "ds/each"),
        ({"kind": "Job", "name": "once"}, "pod/it"),
        (None, "pod/it"),
    ],
)
async def test_agent_in_a_pod_is_at_the_pods_workload(
    place: Cluster, owner: dict[str, Any] | None, target: str
) -> None:
    await inside(place, pod("it", owner=owner))
    assert list(await seen(place)) == [target]


async def test_agents_in_pods_of_a_workload_are_one_session_for_each_person(
    place: Cluster,
) -> None:
    owner = {"kind": "ReplicaSet", "name": "web-5d4f"}
    later = {"TOWLINE_SINCE": "2026-01-02T03:09:00+00:00"}
    await inside(
        place,
        pod("a", owner=owner),
        pod("b", owner=owner, **later),
        pod("c", owner=owner, TOWLINE_OWNER="bob@desk", **later),
        pod("d", owner=owner, state="terminated"),
    )
    alice, bob = (await seen(place))["deploy/web"]
    assert (alice.agents, alice.since, alice.mode) == (("a", "b"), SINCE_TIME, "ephemeral")
    assert (bob.owner, bob.agents) == ("bob@desk", ("c",))


async def test_agents_in_pods_tell_where_their_session_is(place: Cluster) -> None:
    await inside(place, pod("a"), log=AWAY)
    await inside(place, pod("b", state="waiting"))
    assert (await the_use(place, "pod/a")).laptop is Whereabouts.AWAY
    assert (await the_use(place, "pod/b")).laptop is Whereabouts.UNKNOWN


async def test_what_may_not_be_listed_or_asked_is_said(place: Cluster) -> None:
    await place.intercepted()
    place.server.allows = lambda asked: (
        asked["resource"] in ("jobs", "services", "pods") and not asked["subresource"]
    )
    view = await birdseye(place.client, "default")
    ((use,),) = [sight.uses for sight in view.sights]
    assert use.laptop is Whereabouts.UNKNOWN
    workloads = {"deployments", "statefulsets", "daemonsets"}
    assert {right.resource for right in view.missing} == workloads
    assert [str(right) for right in view.unasked] == ["get pods/log in the namespace default"]


async def test_without_agents_nobody_is_asked(place: Cluster) -> None:
    await place.service()
    place.server.allows = lambda asked: not asked["subresource"]
    assert (await birdseye(place.client, "default")).unasked == []


async def test_those_who_share_an_agent_are_all_there(
    place: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    users = [{"who": who, "command": "connect", "since": SINCE_TIME} for who in ("alice", "bob")]
    tell_users(users)
    await place.agent(role=SHARED, log=capsys.readouterr().err)
    uses = (await seen(place))[""]
    assert [(use.owner, use.mode, use.laptop) for use in uses] == [
        ("alice", "shared", Whereabouts.THERE),
        ("bob", "shared", Whereabouts.THERE),
    ]
