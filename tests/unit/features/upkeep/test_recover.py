"""What `tow recover` makes of what broken sessions have left on an object."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.unit.features.upkeep.leftovers import AGENT, OWNER_NAME, SELECTOR, Cluster, cluster
from towline.agent.undo import AGENT_LABEL, ANNOTATION, Record, apply, is_marked
from towline.errors import AccessError, TowlineError
from towline.features.reference import Reference
from towline.features.upkeep import recover as module
from towline.features.upkeep.recover import Recovered, recover
from towline.kube.client import Propagation
from towline.kube.errors import NotFound
from towline.kube.resources import DAEMON_SETS, DEPLOYMENTS, JOBS, PODS, SERVICES, Resource


@pytest.fixture(autouse=True)
def _no_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are none that would have to hear of anything."""
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.0)


@pytest.fixture
async def place() -> AsyncIterator[Cluster]:
    async with cluster() as made:
        yield made


async def recovered(place: Cluster, target: str = "web") -> Recovered:
    return await recover(place.client, "default", Reference.parse(target), lambda _: None)


async def test_service_is_as_it_was_and_its_agent_is_removed(place: Cluster) -> None:
    await place.intercepted()
    done = await recovered(place)
    assert await place.is_as_it_was()
    assert not await place.is_there(JOBS, AGENT)
    assert (done.changed, done.removed, done.agent, done.owner) == (True, True, AGENT, OWNER_NAME)
    assert OWNER_NAME in done.message


async def test_agent_is_removed_after_the_service_is_put_right(place: Cluster) -> None:
    await place.intercepted()
    place.seen_from_here()
    await recovered(place)
    assert place.writes == ["PATCH", "DELETE"]


async def test_workload_has_its_replicas_again(place: Cluster) -> None:
    await place.deployment()
    await place.intercept(DEPLOYMENTS)
    assert (await place.get(DEPLOYMENTS, "web"))["spec"]["replicas"] == 0
    await recovered(place, "deploy/web")
    found = await place.get(DEPLOYMENTS, "web")
    assert found["spec"]["replicas"] == 3
    assert not is_marked(found)


async def test_agent_that_is_gone_is_not_missed(place: Cluster) -> None:
    await place.intercepted()
    await place.delete_job(Propagation.BACKGROUND)
    done = await recovered(place)
    assert await place.is_as_it_was()
    assert (done.changed, done.removed) == (True, False)


async def test_without_its_record_the_agents_job_tells_what_was_there(place: Cluster) -> None:
    await place.intercepted()
    await place.remove_record()
    done = await recovered(place)
    assert await place.is_as_it_was()
    assert done.removed


async def test_without_record_and_job_the_twin_tells_what_was_there(place: Cluster) -> None:
    await place.intercepted()
    await place.remove_record()
    await place.delete_job(Propagation.ORPHAN)
    await recovered(place)
    assert await place.is_as_it_was()


async def test_what_nothing_tells_is_said_and_left(place: Cluster) -> None:
    await place.intercepted()
    await place.remove_record()
    await place.delete_job(Propagation.BACKGROUND)
    place.seen_from_here()
    with pytest.raises(TowlineError, match="svc/web was before is not known") as caught:
        await recovered(place)
    assert "kubectl set selector service web" in caught.value.hint
    assert place.writes == []


async def test_selector_that_somebody_has_merged_keeps_theirs(place: Cluster) -> None:
    """As kubectl apply does; without a record, and with nothing left that knows the original."""
    selector = {"app": "new", AGENT_LABEL: AGENT}
    await place.service(selector=selector)
    await recovered(place)
    assert await place.selector() == {"app": "new"}


@pytest.mark.parametrize("target", ["web", "deploy/web"])
async def test_nothing_to_recover_is_said(place: Cluster, target: str) -> None:
    await place.service()
    await place.deployment()
    place.seen_from_here()
    done = await recovered(place, target)
    assert (done.changed, done.removed) == (False, False)
    assert "nothing to recover" in done.message
    assert place.writes == []


async def test_record_that_cannot_be_read_is_said(place: Cluster) -> None:
    await place.deployment()
    change = {"metadata": {"annotations": {ANNOTATION: "{"}}}
    await place.client.patch(DEPLOYMENTS, "web", change, namespace="default")
    with pytest.raises(TowlineError, match="cannot be read"):
        await recovered(place, "deploy/web")


@pytest.mark.parametrize(("resource", "target"), [(PODS, "pod/web"), (DAEMON_SETS, "ds/web")])
async def test_kinds_that_no_session_changes(
    place: Cluster, resource: Resource, target: str
) -> None:
    await place.make(resource, {"metadata": {"name": "web"}, "spec": {}})
    assert "ends by itself" in (await recovered(place, target)).message


async def test_object_that_is_not_there(place: Cluster) -> None:
    with pytest.raises(NotFound):
        await recovered(place)


async def test_somebody_elses_write_in_between_is_kept(place: Cluster) -> None:
    await place.intercepted()

    async def meddle(request: web.Request) -> None:
        if request.method == "PATCH":
            place.server.faults.clear()
            labels = {"metadata": {"labels": {"by": "somebody"}}}
            await place.client.patch(SERVICES, "web", labels, namespace="default")

    place.server.faults.append(meddle)
    await recovered(place)
    assert await place.is_as_it_was()
    assert (await place.get(SERVICES, "web"))["metadata"]["labels"] == {"by": "somebody"}


async def test_missing_right_is_named_before_anything_is_changed(place: Cluster) -> None:
    await place.intercepted()
    place.server.allows = lambda asked: asked["verb"] != "delete"
    place.seen_from_here()
    with pytest.raises(AccessError, match=r"delete jobs\.batch in the namespace default"):
        await recovered(place)
    assert place.writes == []


async def test_job_that_is_no_agents_is_left_alone(place: Cluster) -> None:
    """Whoever may write to the service may write any name in its record."""
    await place.intercepted()
    change = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}}
    await place.client.patch(JOBS, AGENT, change, namespace="default")
    done = await recovered(place)
    assert not done.removed
    assert await place.is_there(JOBS, AGENT)


@pytest.mark.parametrize("role", ["uplink", "preview"])
async def test_agent_that_has_no_object_is_left_alone(place: Cluster, role: str) -> None:
    await place.service()
    record = Record(AGENT, "o", "s", selector=SELECTOR)
    change = apply(await place.get(SERVICES, "web"), record)
    await place.client.patch(SERVICES, "web", change, namespace="default")
    await place.agent(role=role)
    await recovered(place)
    assert await place.selector() == SELECTOR
    assert await place.is_there(JOBS, AGENT)


async def test_agent_of_another_service_is_left_alone(place: Cluster) -> None:
    record = await place.intercepted()
    await place.service("other", selector={AGENT_LABEL: AGENT})
    change = {"metadata": {"annotations": {ANNOTATION: record.to_json()}}}
    await place.client.patch(SERVICES, "other", change, namespace="default")
    await recovered(place, "other")
    assert await place.selector("other") == SELECTOR
    assert await place.is_there(JOBS, AGENT)
    assert await place.selector() == {AGENT_LABEL: AGENT}
