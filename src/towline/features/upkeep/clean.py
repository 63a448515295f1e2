"""Removes what broken sessions of anybody have left; what may be somebody's is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from towline.agent.undo import Record
from towline.errors import TowlineError
from towline.features.rights import require_all
from towline.features.upkeep.presence import presence
from towline.features.upkeep.recover import SETTLE_SECONDS, delete_job, original, put_right
from towline.features.upkeep.survey import Agent, Held, list_right, survey
from towline.kube.access import Right
from towline.kube.client import Client
from towline.kube.errors import NotFound
from towline.kube.resources import JOBS, PODS, SERVICES, Object, Resource

Progress = Callable[[str], None]


class Deed(StrEnum):
    """What is to become of a thing."""

    RECOVER = "recover"
    DELETE = "delete"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was found, what is to become of it, and why."""

    deed: Deed
    namespace: str
    what: str
    owner: str
    since: str
    why: str


@dataclass(slots=True)
class Cleaning:
    """What was found, and done of it; `missing` are rights whose want left something out.

    `errors` are of things that are broken, and could not be put right.
    """

    items: list[Item] = field(default_factory=list)
    missing: Sequence[Right] = ()
    errors: list[TowlineError] = field(default_factory=list)


def rights(namespace: str | None, *, dry_run: bool) -> list[Right]:
    """What it takes at least; for None in the whole cluster."""
    where = {"namespace": namespace or ""}
    found = [list_right(each, namespace) for each in (SERVICES, JOBS, PODS)]
    found += [Right("get", "batch", "jobs", **where), Right("get", "", "pods", "log", **where)]
    if not dry_run:
        found += [Right(verb, "", "services", **where) for verb in ("get", "patch")]
        found += [Right("delete", "batch", "jobs", **where)]
    return found


async def clean(
    client: Client,
    namespace: str | None,
    *,
    older_than: timedelta | None,
    dry_run: bool,
    progress: Progress,
) -> Cleaning:
    """Clean a namespace, or all for None; a dry run only tells what would be done.

    Raises AccessError for a right that is missing, before anything is changed; ApiError.
    """
    await require_all(client, rights(namespace, dry_run=dry_run))
    progress("Looking for what sessions have left")
    found = await survey(client, namespace, companions=True)
    done = Cleaning(missing=found.missing)
    broken = []
    for agent in found.agents:
        verdict = await presence(client, agent)
        why = verdict.why if not verdict.gone else _too_young(agent, older_than)
        if why:
            done.items.append(_left(agent, why))
        else:
            broken.append((agent, verdict.why))
    if broken:
        await _clean(client, broken, done, dry_run=dry_run, progress=progress)
    return done


async def _clean(
    client: Client,
    broken: Sequence[tuple[Agent, str]],
    done: Cleaning,
    *,
    dry_run: bool,
    progress: Progress,
) -> None:
    """Put right what broken sessions hold, then remove their agents: they pass by meanwhile."""
    stuck = set()
    recovered = False
    for agent, why in broken:
        for held in agent.held:
            item = _item(Deed.RECOVER, agent, str(held.target), why)
            try:
                await original(client, held)
                if not dry_run:
                    await put_right(client, agent.namespace, held.target, _only_of(agent))
                    recovered = True
            except NotFound:
                continue
            except TowlineError as error:
                _note_failure(done, item, error)
                stuck.add((agent.namespace, agent.name))
            else:
                done.items.append(item)
    if recovered:
        progress("Waiting until every node has heard of it")
        await asyncio.sleep(SETTLE_SECONDS)
    for agent, why in broken:
        # What still leads to an agent would lead to nothing.
        if (agent.namespace, agent.name) not in stuck:
            await _remove(client, agent, why, done, dry_run=dry_run)


async def _remove(client: Client, agent: Agent, why: str, done: Cleaning, *, dry_run: bool) -> None:
    for resource, thing in _removable(agent):
        kind = "job" if resource == JOBS else resource.plural.removesuffix("s")
        item = _item(Deed.DELETE, agent, f"{kind}/{thing['metadata']['name']}", why)
        try:
            if not dry_run:
                await _delete(client, resource, thing)
        except NotFound:
            continue
        except TowlineError as error:
            _note_failure(done, item, error)
        else:
            done.items.append(item)


def _removable(agent: Agent) -> Iterator[tuple[Resource, Object]]:
    """Its Job, with which the rest goes; without one, what belongs to nothing any more."""
    if agent.job is not None:
        yield JOBS, agent.job
        return
    for resource, thing in [*((PODS, pod) for pod in agent.pods), *agent.companions]:
        if not thing["metadata"].get("ownerReferences"):
            yield resource, thing


async def _delete(client: Client, resource: Resource, thing: Object) -> None:
    if resource == JOBS:
        await delete_job(client, thing)
        return
    about = thing["metadata"]
    await client.delete(resource, about["name"], namespace=about["namespace"], uid=about["uid"])


def _only_of(agent: Agent) -> Callable[[Client, Held], Awaitable[Record | None]]:
    """What an object was before, if it is still that agent's."""

    async def find(client: Client, there: Held) -> Record | None:
        return await original(client, there) if there.agent == agent.name else None

    return find


def _note_failure(done: Cleaning, item: Item, error: TowlineError) -> None:
    done.items.append(replace(item, deed=Deed.LEAVE, why=error.summary))
    done.errors.append(error)


def _left(agent: Agent, why: str) -> Item:
    return _item(Deed.LEAVE, agent, agent.target or f"job/{agent.name}", why)


def _item(deed: Deed, agent: Agent, what: str, why: str) -> Item:
    return Item(deed, agent.namespace, what, agent.owner, agent.since, why)


def _too_young(agent: Agent, older_than: timedelta | None) -> str:
    """Why an agent is not old enough; "" if it is."""
    if older_than is None:
        return ""
    try:
        began = datetime.fromisoformat(agent.began)
        age = datetime.now(UTC) - began.replace(tzinfo=began.tzinfo or UTC)
    except ValueError:
        return "nothing tells how old it is"
    return "" if age > older_than else "it is not as old as that"
