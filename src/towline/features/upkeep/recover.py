"""Puts right what a broken session has left on an object, and removes its agent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from towline.agent.undo import LABELS, Record
from towline.cluster.interception import put_back
from towline.cluster.job import ROLE, changed_by, is_ours
from towline.errors import TowlineError
from towline.features.reference import Reference
from towline.features.rights import require_all
from towline.features.upkeep.survey import CHANGED, Held, has_unreadable_record, held
from towline.kube.access import Right
from towline.kube.client import Client, Propagation
from towline.kube.errors import Conflict, Forbidden, NotFound
from towline.kube.resources import DAEMON_SETS, JOBS, SERVICES, Object

# Until every node has heard of a change, an agent passes by what still comes to it.
SETTLE_SECONDS = 2.0
# The roles of agents that have an object of somebody else.
INTERCEPTING = ("exchange", "mirror", "mesh")
# Whoever loses the race so often in a row is not in a race.
CONFLICTS = 10


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was done: `changed` to the object, `removed` of the agent; `message` says it."""

    target: str
    namespace: str
    changed: bool
    removed: bool
    agent: str
    owner: str
    since: str
    message: str


def rights(namespace: str, target: Reference) -> list[Right]:
    """What it takes to recover one object."""
    kind = target.resource
    verbs = ("get", "patch") if kind in CHANGED else ("get",)
    found = [
        Right(v, kind.group, kind.plural, namespace=namespace, name=target.name) for v in verbs
    ]
    if kind in CHANGED:
        found += [Right(v, "batch", "jobs", namespace=namespace) for v in ("get", "delete")]
    return found


async def recover(
    client: Client, namespace: str, target: Reference, progress: Callable[[str], None]
) -> Recovered:
    """Put an object right, whoever's session has changed it.

    Raises AccessError for a right that is missing, NotFound, other ApiErrors, and TowlineError
    when nothing tells any more what was there.
    """
    await require_all(client, rights(namespace, target))
    progress(f"Looking at {target}")
    record = await put_right(client, namespace, target, original)
    if record is None:
        what = f"{target} in {namespace}: {_nothing(target)}"
        return Recovered(str(target), namespace, False, False, "", "", "", what)
    progress("Waiting until every node has heard of it")
    await asyncio.sleep(SETTLE_SECONDS)
    removed = await remove_agent(client, namespace, record.job, target)
    whose = f", which {record.owner} has had since {record.since}" if record.owner else ""
    agent = f"The agent {record.job} {'is removed' if removed else 'is gone already'}."
    what = f"{target} in {namespace} is as it was{whose}. {agent}"
    return Recovered(
        str(target), namespace, True, removed, record.job, record.owner, record.since, what
    )


async def put_right(
    client: Client,
    namespace: str,
    target: Reference,
    find: Callable[[Client, Held], Awaitable[Record | None]],
) -> Record | None:
    """Undo, on the object as it is when that is written, what `find` tells of it.

    Gives the record that was undone; None when there was nothing. Raises ApiError, TowlineError.
    """
    for tries_left in reversed(range(CONFLICTS)):
        thing = await client.get(target.resource, target.name, namespace=namespace)
        there = _held(target, thing)
        record = await find(client, there) if there else None
        if record is None:
            return None
        try:
            return record if await put_back(client, target.resource, thing, record) else None
        except Conflict:
            if not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


async def original(client: Client, there: Held) -> Record:
    """What an object was before, by its record, else by what its agent knows.

    Raises TowlineError when nothing tells it any more.
    """
    if there.record is not None:
        return there.record
    record = Record(there.agent, "", "", selector={})
    if len(there.thing["spec"]["selector"]) > 1:
        return record  # somebody has said what it is to be: only our label is too much
    namespace = there.thing["metadata"]["namespace"]
    with suppress(NotFound):
        changed = changed_by(await client.get(JOBS, there.agent, namespace=namespace))
        if changed is not None and Reference.at(changed.path) == there.target:
            return changed.record
    # A twin outlives its Job when somebody deletes that and leaves the rest.
    with suppress(NotFound, Forbidden):
        twin = await client.get(SERVICES, there.agent, namespace=namespace)
        if is_ours(twin) and twin["metadata"]["labels"].get(ROLE) == "original":
            return Record(there.agent, "", "", selector=dict(twin["spec"]["selector"]))
    raise _unknown(there.target, "its record was removed, and its agent is gone")


async def remove_agent(client: Client, namespace: str, name: str, target: Reference) -> bool:
    """Delete an agent's Job, and what goes with it; whether it was there.

    What another tool has made, or a session for another object or none, is left alone, whatever
    names it.
    """
    try:
        job = await client.get(JOBS, name, namespace=namespace)
        changed = changed_by(job)
        if job["metadata"].get("labels", {}).get(ROLE) not in INTERCEPTING or not is_ours(job):
            return False
        if changed and Reference.at(changed.path) != target:
            return False
        await delete_job(client, job)
    except (NotFound, Conflict):
        return False
    return True


async def delete_job(client: Client, job: Object) -> None:
    """Delete that very Job, and what goes with it. Raises ApiError."""
    about = job["metadata"]
    await client.delete(
        JOBS,
        about["name"],
        namespace=about["namespace"],
        propagation=Propagation.BACKGROUND,
        uid=about["uid"],
    )


def _held(target: Reference, thing: Object) -> Held | None:
    there = held(target.resource, thing) if target.resource in CHANGED else None
    if there is None and target.resource in CHANGED and has_unreadable_record(thing):
        raise _unknown(target, "its record cannot be read")
    return there


def _unknown(target: Reference, why: str) -> TowlineError:
    if target.resource == SERVICES:
        by_hand = f"'kubectl set selector service {target.name} KEY=VALUE'"
    else:
        labels = " ".join(f"{label}-" for label in LABELS.values())
        by_hand = f"'kubectl scale {target}' and 'kubectl label {target} {labels}'"
    return TowlineError(
        f"What {target} was before is not known: {why}.",
        f"Apply its manifest again, or put it right by hand, with {by_hand}.",
    )


def _nothing(target: Reference) -> str:
    if target.resource in CHANGED:
        return "there is nothing to recover."
    kind = "a DaemonSet" if target.resource == DAEMON_SETS else "a pod"
    return (
        f"there is nothing to recover, as no session changes {kind} itself. What runs in its pods "
        "beside them ends by itself; Kubernetes lists it until the pod is replaced."
    )
