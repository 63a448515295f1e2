"""What `tow clean` removes, and what it leaves alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from tests.unit.features.upkeep.leftovers import (
    AGENT,
    PENDING,
    Cluster,
    cluster,
    intercepting,
)
from towline.agent.telling import BACK, GONE, tell_users
from towline.agent.undo import ANNOTATION
from towline.cluster.sharing import SHARED
from towline.errors import AccessError
from towline.features.upkeep import clean as module
from towline.features.upkeep.clean import Cleaning, Deed, clean
from towline.kube.client import Propagation
from towline.kube.errors import Forbidden
from towline.kube.resources import (
    DEPLOYMENTS,
    JOBS,
    PODS,
    ROLES,
    SERVICE_ACCOUNTS,
    SERVICES,
)

NEWS_OF_GONE = f"something\n{GONE}\ntowline: x cannot be put back yet: 403\n"
NEWS_OF_BACK = f"{NEWS_OF_GONE}{BACK}\n"


@pytest.fixture(autouse=True)
def _no_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are none that would have to hear of anything."""
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.0)


@pytest.fixture
async def place() -> AsyncIterator[Cluster]:
    async with cluster() as made:
        yield made


async def cleaned(place: Cluster, namespace: str | None = "default", **options: Any) -> Cleaning:
    options = {"older_than": None, "dry_run": False, **options}
    place.seen_from_here()
    return await clean(place.client, namespace, progress=lambda _: None, **options)


def deeds(done: Cleaning) -> list[tuple[Deed, str]]:
    return [(item.deed, item.what) for item in done.items]


async def test_nothing_is_there(place: Cluster) -> None:
    await place.service()
    assert (await cleaned(place)).items == []


@pytest.mark.parametrize("namespace", ["default", None])
async def test_session_that_its_agent_says_is_gone(place: Cluster, namespace: str | None) -> None:
    await place.intercepted(log=NEWS_OF_GONE)
    done = await cleaned(place, namespace)
    assert deeds(done) == [(Deed.RECOVER, "svc/web"), (Deed.DELETE, f"job/{AGENT}")]
    assert await place.is_as_it_was()
    assert not await place.is_there(JOBS, AGENT)
    assert place.writes == ["PATCH", "DELETE"]


@pytest.mark.parametrize("log", ["", NEWS_OF_BACK])
async def test_session_that_is_there_or_may_come_back_is_left_alone(
    place: Cluster, log: str
) -> None:
    await place.intercepted(log=log)
    done = await cleaned(place)
    assert deeds(done) == [(Deed.LEAVE, "svc/web")]
    assert "may come back" in done.items[0].why
    assert place.writes == []
    assert await place.selector() == intercepting()


async def test_dry_run_says_the_same_and_changes_nothing(place: Cluster) -> None:
    await place.intercepted(log=NEWS_OF_GONE)
    await place.agent("towline-bob-2", role="uplink")
    told = (await cleaned(place, dry_run=True)).items
    assert place.writes == []
    assert (await cleaned(place)).items == told


async def test_workload_is_recovered_too(place: Cluster) -> None:
    await place.deployment()
    await place.intercept(DEPLOYMENTS, log=NEWS_OF_GONE)
    await cleaned(place)
    assert (await place.get(DEPLOYMENTS, "web"))["spec"]["replicas"] == 3


async def test_record_whose_agent_is_gone(place: Cluster) -> None:
    await place.intercepted()
    await place.delete_job(Propagation.BACKGROUND)
    assert deeds(await cleaned(place)) == [(Deed.RECOVER, "svc/web")]
    assert await place.is_as_it_was()


async def test_what_has_lost_its_job_is_removed_when_its_agent_has_lost_its_session(
    place: Cluster,
) -> None:
    await place.intercepted(log=NEWS_OF_GONE)
    await place.delete_job(Propagation.ORPHAN)
    done = await cleaned(place)
    assert [what for deed, what in deeds(done) if deed is Deed.DELETE] == [
        f"pod/{AGENT}-x",
        f"service/{AGENT}",
        f"serviceaccount/{AGENT}",
        f"role/{AGENT}",
        f"rolebinding/{AGENT}",
    ]
    assert await place.is_as_it_was()
    for resource in (SERVICES, SERVICE_ACCOUNTS, ROLES):
        assert not await place.is_there(resource, AGENT)


async def test_agent_that_has_lost_its_job_but_not_its_session_is_left_alone(
    place: Cluster,
) -> None:
    await place.intercepted()
    await place.delete_job(Propagation.ORPHAN)
    assert deeds(await cleaned(place)) == [(Deed.LEAVE, "svc/web")]
    assert place.writes == []


async def test_preview_without_an_agent_is_removed(place: Cluster) -> None:
    await place.preview()
    assert deeds(await cleaned(place)) == [(Deed.DELETE, "service/mine")]
    assert not await place.is_there(SERVICES, "mine")


async def test_preview_of_a_session_is_left_alone(place: Cluster) -> None:
    await place.agent(role="preview")
    await place.preview()
    assert deeds(await cleaned(place)) == [(Deed.LEAVE, "svc/mine")]
    assert place.writes == []


async def test_things_of_others_are_never_touched(place: Cluster) -> None:
    """Neither what has no label of ours, nor what has the label and not our names."""
    label = {"app.kubernetes.io/managed-by": "towline"}
    await place.make(SERVICE_ACCOUNTS, {"metadata": {"name": "towline-x"}})
    await place.make(SERVICE_ACCOUNTS, {"metadata": {"name": "mine", "labels": label}})
    await place.make(PODS, {"metadata": {"name": "p", "labels": label}, "spec": {}})
    spec = {"selector": {"app": "x"}, "ports": []}
    await place.make(SERVICES, {"metadata": {"name": "s", "labels": label}, "spec": spec})
    assert (await cleaned(place)).items == []
    assert place.writes == []


@pytest.mark.parametrize(
    ("agent", "why"),
    [
        ({"settled": False}, "starting"),
        ({"status": PENDING}, "does not run"),
        ({"status": {"phase": "Unknown"}}, "does not run"),
    ],
)
async def test_agent_that_cannot_be_asked_is_left_alone(
    place: Cluster, agent: dict[str, Any], why: str
) -> None:
    await place.intercepted(log=NEWS_OF_GONE, **agent)
    done = await cleaned(place)
    assert deeds(done) == [(Deed.LEAVE, "svc/web")]
    assert why in done.items[0].why
    assert place.writes == []


async def test_log_that_may_not_be_read_leaves_it_alone(place: Cluster) -> None:
    await place.intercepted(log=NEWS_OF_GONE)

    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "code": 403, "message": "no"}, status=403)

    place.server.handlers["pods", "log"] = refuse
    done = await cleaned(place)
    assert "cannot be asked" in done.items[0].why
    assert place.writes == []


async def test_job_whose_label_somebody_took_is_no_agent_that_is_gone(place: Cluster) -> None:
    await place.intercepted()
    for resource, name in ((JOBS, AGENT), (PODS, f"{AGENT}-x")):
        change = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
        await place.client.patch(resource, name, change, namespace="default")
    assert deeds(await cleaned(place)) == [(Deed.LEAVE, "svc/web")]
    assert place.writes == []


@pytest.mark.parametrize(("days", "deed"), [(1, Deed.RECOVER), (99999, Deed.LEAVE)])
async def test_only_what_is_old_enough(place: Cluster, days: int, deed: Deed) -> None:
    await place.intercepted()
    await place.delete_job(Propagation.BACKGROUND)
    done = await cleaned(place, older_than=timedelta(days=days))
    assert deeds(done) == [(deed, "svc/web")]


async def test_age_that_nothing_tells_is_not_old_enough(place: Cluster) -> None:
    record = await place.intercepted()
    await place.delete_job(Propagation.BACKGROUND)
    text = record.to_json().replace(record.since, "once")
    change = {"metadata": {"annotations": {ANNOTATION: text}}}
    await place.client.patch(SERVICES, "web", change, namespace="default")
    done = await cleaned(place, older_than=timedelta(seconds=1))
    assert deeds(done) == [(Deed.LEAVE, "svc/web")]


async def test_what_cannot_be_recovered_keeps_its_agent_and_is_an_error(place: Cluster) -> None:
    """And what else there is, is cleaned all the same."""
    await place.intercepted(log=NEWS_OF_GONE)
    await place.service("api")
    await place.intercept(SERVICES, name="api", name_of_agent="towline-bob-2", log=NEWS_OF_GONE)
    place.server.allows = lambda asked: (asked["verb"], asked["name"]) != ("patch", "web")
    done = await cleaned(place)
    assert deeds(done) == [
        (Deed.LEAVE, "svc/web"),
        (Deed.RECOVER, "svc/api"),
        (Deed.DELETE, "job/towline-bob-2"),
    ]
    assert [type(error) for error in done.errors] == [Forbidden]
    assert await place.is_there(JOBS, AGENT)


async def test_service_whose_original_nothing_tells_is_said(place: Cluster) -> None:
    await place.intercepted()
    await place.remove_record()
    await place.delete_job(Propagation.BACKGROUND)
    for dry_run in (True, False):
        done = await cleaned(place, dry_run=dry_run)
        assert deeds(done) == [(Deed.LEAVE, "svc/web")]
        assert "not known" in done.items[0].why
        assert len(done.errors) == 1


async def test_missing_right_is_named_before_anything_is_changed(place: Cluster) -> None:
    await place.intercepted(log=NEWS_OF_GONE)
    place.server.allows = lambda asked: (asked["verb"], asked["resource"]) != ("delete", "jobs")
    with pytest.raises(AccessError, match=r"delete jobs\.batch"):
        await cleaned(place)
    assert place.writes == []
    assert (await cleaned(place, dry_run=True)).items


async def test_kinds_that_may_not_be_listed_are_told(place: Cluster) -> None:
    await place.intercepted(log=NEWS_OF_GONE)
    place.server.allows = lambda asked: asked["resource"] not in ("roles", "deployments")
    done = await cleaned(place)
    assert {right.resource for right in done.missing} == {"roles", "deployments"}
    assert await place.is_as_it_was()


@pytest.mark.parametrize("users", [[], [{"who": "bob", "command": "connect", "since": ""}]])
async def test_agent_that_several_share_is_left_to_itself(
    place: Cluster, capsys: pytest.CaptureFixture[str], users: list[dict[str, str]]
) -> None:
    """It ends by itself when nobody uses it, or waits for those who may come back."""
    tell_users(users)
    await place.agent(role=SHARED, log=capsys.readouterr().err)
    assert [deed for deed, _ in deeds(await cleaned(place))] == [Deed.LEAVE]
    assert await place.is_there(JOBS, AGENT)
