"""A session's change of somebody else's object: made, watched, undone; never over others' edits.

What is to be written is for :mod:`towline.agent.undo` to say, as the agent undoes it likewise.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from towline.agent.undo import AGENT_LABEL, MANAGERS, Record, apply, disown, of, undo
from towline.errors import SessionError, TowlineError
from towline.kube.client import Client
from towline.kube.errors import (
    ApiError,
    Conflict,
    ConnectionFailed,
    NotFound,
    ServerError,
    TooManyRequests,
)
from towline.kube.resources import Object, Resource
from towline.kube.watch import EventType, watch

END_SECONDS = 15.0
RETRY_SECONDS = 0.5
DISOWN_TRIES = 5
#: What of the API may pass by itself.
PASSING = (ConnectionFailed, ServerError, TooManyRequests, Conflict)


def holder(thing: Object) -> Record | None:
    """Whose interception an object is under now; None also if its record is of no account."""
    record = of(thing)
    if record is None:
        return None
    spec = thing["spec"]
    if record.selector is not None:
        held = (spec.get("selector") or {}).get(AGENT_LABEL) == record.job
    else:
        held = spec.get("replicas") == 0
    return record if held else None


def selector(service: Object) -> dict[str, str]:
    """The selector of a service, the original one while it is intercepted."""
    live = dict(service["spec"].get("selector") or {})
    record = holder(service)
    if record is None or record.selector is None:
        return live
    # What somebody has written beside ours meanwhile counts, as it does when this is undone.
    del live[AGENT_LABEL]
    return live or record.selector


def replicas(workload: Object) -> int:
    """How many pods a workload is to have, while it is intercepted as well."""
    record = holder(workload)
    if record is not None and record.replicas is not None:
        return record.replicas
    number: int = workload["spec"].get("replicas", 1)
    return number


async def put_back(client: Client, resource: Resource, thing: Object, record: Record) -> bool:
    """Undo what of an object, as it was read, is still the record's; whether that was anything.

    Raises Conflict when it is not any more as it was read, ApiError.
    """
    name, namespace = thing["metadata"]["name"], thing["metadata"]["namespace"]
    change = undo(thing, record)
    if change is not None:
        thing = await client.patch(resource, name, change, namespace=namespace)
    # All is put right already: should this fail, only a note of who did it stays.
    with contextlib.suppress(ApiError):
        await _disown(client, resource, thing)
    return change is not None


async def _disown(client: Client, resource: Resource, thing: Object) -> None:
    """Manage no field of an object any more. Raises Conflict when others write all the time."""
    name, namespace = thing["metadata"]["name"], thing["metadata"]["namespace"]
    for tries_left in reversed(range(DISOWN_TRIES)):
        if (change := disown(thing)) is None:
            return
        try:
            await client.patch(resource, name, change, namespace=namespace)
            return
        except Conflict:  # its controller writes there as well, above all just now
            if not tries_left:
                raise
        thing = await client.get(resource, name, namespace=namespace)


def held_by(what: str, record: Record) -> SessionError:
    """The refusal of a second session, with what is known of the first."""
    if record.mesh is not None:
        return SessionError(
            f"{what} is shared by a mesh, which {record.owner} has begun, at {record.since}.",
            "Take part in it with 'tow mesh', take all of it with --force, or, if all of theirs "
            f"are long gone, put it right with 'tow recover {what}'.",
        )
    return SessionError(
        f"{what} is intercepted by {record.owner}, since {record.since}.",
        "Ask them to end it, take over with --force, or, if their session is long gone, put it "
        f"right with 'tow recover {what}'.",
    )


class Interception:
    """The change, as a record says it, of an object that was `seen`; `what` names it to people."""

    def __init__(
        self, client: Client, resource: Resource, seen: Object, record: Record, what: str
    ) -> None:
        self._client = client
        self._resource = resource
        self._namespace: str = seen["metadata"]["namespace"]
        self._name: str = seen["metadata"]["name"]
        self._seen = seen
        self._record = record
        self._what = what
        self._beginning: asyncio.Task[None] | None = None
        self._unsure = False  # whether the change may be made although that was not answered

    @property
    def predecessor(self) -> str:
        """The Job of the agent whose session this one takes over from; "" for none."""
        record = holder(self._seen)
        return record.job if record else ""

    async def begin(self) -> None:
        """Change the object, if it still is as it was seen.

        Raises SessionError when it is not: somebody else was quicker; ApiError.
        """
        self._beginning = asyncio.ensure_future(self._change())
        await asyncio.shield(self._beginning)

    async def _change(self) -> None:
        while True:
            thing = await self._read()
            other = holder(thing)
            if other is not None and other != holder(self._seen):
                raise held_by(self._what, other)
            if _gist(thing) != _gist(self._seen):
                raise SessionError(
                    f"{self._what} was changed by {changer(thing)} while this session started.",
                    "Start it again.",
                )
            try:
                await self._patch(apply(thing, self._record))
            except Conflict:
                continue
            except (ConnectionFailed, ServerError):
                self._unsure = True
                raise
            return

    async def begun(self) -> bool:
        """Wait until a change that is under way is made, or is known not to be, for a while.

        Gives whether it may yet be made.
        """
        if self._beginning is not None:
            await asyncio.wait((self._beginning,), timeout=END_SECONDS)
            return self._unsure or not self._beginning.done()
        return False

    async def end(self) -> None:
        """Undo the change, or what others have left of it; safe to call twice.

        Raises TowlineError when that is not done within `END_SECONDS`, or when the change may yet
        be made.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + END_SECONDS
        if self._beginning is not None:
            # A write that is under way must not arrive after its undoing.
            await asyncio.wait((self._beginning,), timeout=END_SECONDS)
            self._beginning.cancel()
        while True:
            try:
                # Not asyncio.timeout: in Python 3.11 it does not work in a task that was cancelled.
                undone = await asyncio.wait_for(self._undo(), max(0.0, deadline - loop.time()))
            except NotFound:
                return
            except (*PASSING, TimeoutError) as error:
                if loop.time() + RETRY_SECONDS >= deadline:
                    raise self._not_undone(error) from error
                await asyncio.sleep(0 if isinstance(error, Conflict) else RETRY_SECONDS)
            except TowlineError as error:
                raise self._not_undone(error) from error
            else:
                if self._unsure and not undone:
                    raise self._not_undone("its change was not answered, and may yet be made")
                self._unsure = False
                return

    async def disturbed(self, on_seen: Callable[[Object], None] = lambda _: None) -> SessionError:
        """Wait until somebody else changes what this session has changed or relies on.

        `on_seen` gets the object each time that it changes, unless that is so.
        """
        named = f"metadata.name={self._name}"
        changes = watch(self._client, self._resource, namespace=self._namespace, fields=named)
        there = False
        async with contextlib.aclosing(changes) as events:
            async for event in events:
                if event.type is EventType.DELETED or (
                    event.type is EventType.SYNCED and not there
                ):
                    return SessionError(f"{self._what} has been deleted.")
                there = True
                if event.type is not EventType.SYNCED and (
                    disturbance := self._disturbance(event.object)
                ):
                    return disturbance
                if event.type is not EventType.SYNCED:
                    on_seen(event.object)
        raise AssertionError("a watch has no end")

    def _disturbance(self, thing: Object) -> SessionError | None:
        record = of(thing)
        if record is not None and record.job != self._record.job:
            return SessionError(f"{self._what} was taken over by {record.owner}.")
        if record is not None and holder(thing) and _gist(thing) == self._wanted():
            return None
        if not self._ours(thing):
            return SessionError(
                f"{self._what} was put back by {self._restorer(thing)}.",
                "Start the session again.",
            )
        return SessionError(
            f"{self._what} was changed by {changer(thing)}: this session has withdrawn from it.",
            "Start it again, on the object as it is now.",
        )

    def _restorer(self, thing: Object) -> str:
        """Who has put an object back, which may not say so: see `disown`."""
        last = _last_entry(thing)
        untold = last is None or str(last.get("time") or "later")[:19] < self._record.since[:19]
        if untold or changer(thing) in MANAGERS:
            return (
                "its agent, as this session was gone for longer than the grace time, or by "
                "'tow recover'"
            )
        return changer(thing)

    def _ours(self, thing: Object) -> bool:
        return undo(thing, self._record) is not None

    def _wanted(self) -> Any:
        """What is relied on, with our change."""
        changed = apply(self._seen, self._record)["spec"]
        return {**_gist(self._seen), **{k: _without_nulls(v) for k, v in changed.items()}}

    async def _undo(self) -> bool:
        return await put_back(self._client, self._resource, await self._read(), self._record)

    async def _read(self) -> Object:
        return await self._client.get(self._resource, self._name, namespace=self._namespace)

    async def _patch(self, change: Object) -> None:
        await self._client.patch(self._resource, self._name, change, namespace=self._namespace)

    def _not_undone(self, why: Exception | str) -> SessionError:
        return SessionError(
            f"{self._what} could not be put back: {why or 'no answer in time'}",
            f"Should the agent not do it after its grace time, run 'tow recover {self._what}'.",
        )


def changer(thing: Object) -> str:
    """Who changed an object last, as far as it says.

    See https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers.
    """
    last = _last_entry(thing)
    return str(last["manager"]) if last else "somebody"


def _last_entry(thing: Object) -> Object | None:
    entries: list[Object] = thing["metadata"].get("managedFields") or []
    entries = [each for each in entries if each.get("subresource", "") != "status"]
    # Who has scaled it has no time, and is there no more when others have written the number since.
    return max(entries, key=lambda each: str(each.get("time") or "later"), default=None)


def _gist(thing: Object) -> dict[str, Any]:
    """What of an object a session relies on."""
    spec = thing["spec"]
    return {key: spec.get(key) for key in ("selector", "ports", "type", "replicas")}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: inner for key, inner in value.items() if inner is not None}
    return value
