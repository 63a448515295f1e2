"""Follow a collection of objects for as long as one likes, through disconnects and restarts.

See https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes.
"""

from __future__ import annotations

import asyncio
import enum
import json
import random
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from towline.kube.errors import (
    ConnectionFailed,
    Gone,
    ServerError,
    TooManyRequests,
    from_status,
)
from towline.kube.resources import Object, Resource, action
from towline.kube.status import status_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from towline.kube.client import Client

# The server ends each watch after such a time; not always the same, so that clients spread out.
_SHORTEST_WATCH_SECONDS = 240
_LONGEST_WATCH_SECONDS = 300
# How much later than that a silent connection is taken for dead.
_GRACE_SECONDS = 15

# What time may heal once a watch has been working.
_PASSING = (ConnectionFailed, ServerError, TooManyRequests)


class EventType(enum.StrEnum):
    """What happened to an object; SYNCED says that all objects there are have been given."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    SYNCED = "SYNCED"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """A change of one object, which is as it was last if it is DELETED, empty if SYNCED."""

    type: EventType
    object: Object


async def watch(
    client: Client,
    resource: Resource,
    *,
    namespace: str | None = None,
    labels: str = "",
    fields: str = "",
    since: str = "",
    brief: bool = False,
) -> AsyncGenerator[WatchEvent, None]:
    """Give what there is, as ADDED, then SYNCED, then every change, until closed or cancelled.

    With `since`, a resourceVersion, the listing is left out and only changes after it are given.
    A disconnect is resumed from the last version seen. When the server no longer keeps that
    version, everything is listed again, the differences are given as changes, and SYNCED once
    more. Raises ApiError when it cannot start, and later only what time does not heal.

    Every object is kept, for DELETED, or with `brief` no more of each than its metadata's uid and
    resourceVersion: a cluster may have thousands, and an object takes kilobytes.
    """
    follower = _Follower(client, resource, namespace, labels, fields, since, brief=brief)
    fruitless = 0
    while True:
        try:
            async with aclosing(follower.run()) as events:
                async for event in events:
                    fruitless = 0
                    if event is not None:
                        yield event
        except Gone:
            follower.restart()
        except _PASSING:
            if not follower.worked:
                raise
        if fruitless:
            await asyncio.sleep(client.patience.wait(fruitless - 1))
        fruitless += 1


async def until(
    client: Client,
    resource: Resource,
    name: str,
    predicate: Callable[[Object | None], bool],
    *,
    namespace: str | None = None,
    since: str = "",
) -> Object | None:
    """Wait until one object is as the predicate wants it, and give it.

    The predicate gets None when there is no such object, and ends the waiting also by raising.
    With `since`, it is only asked about what changes after that resourceVersion. There is no
    time limit: put `asyncio.timeout` around it.
    """
    events = watch(
        client, resource, namespace=namespace, fields=f"metadata.name={name}", since=since
    )
    current: Object | None = None
    async with aclosing(events):
        async for event in events:
            if event.type is EventType.DELETED:
                current = None
            elif event.type is not EventType.SYNCED:
                current = event.object
            elif current is not None:
                continue
            if predicate(current):
                return current
    raise AssertionError("a watch has no end")


class _Follower:
    """What is known of a collection between one connection and the next.

    `worked` once the server has answered as it should.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str | None,
        labels: str,
        fields: str,
        since: str,
        *,
        brief: bool,
    ) -> None:
        self.version = since
        self.worked = False
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._keep = _brief if brief else _whole
        self._paged = True
        self._known: dict[str, Object] = {}

    def restart(self) -> None:
        """List again, as the server keeps no more what it was asked of.

        When that was the listing itself, its pages took too long: it is one page then.
        """
        self._paged = bool(self.version)
        self.version = ""

    async def run(self) -> AsyncGenerator[WatchEvent | None, None]:
        """List if need be, then watch until the connection ends; None is a sign of life."""
        if not self.version:
            async with aclosing(self._list()) as changes:
                async for change in changes:
                    yield change
            self.worked = True
            yield WatchEvent(EventType.SYNCED, {})
        path = self._resource.path(self._namespace)
        seconds = random.randint(_SHORTEST_WATCH_SECONDS, _LONGEST_WATCH_SECONDS)  # noqa: S311
        async with self._client.stream(
            path, self._params(seconds), read_timeout=seconds + _GRACE_SECONDS
        ) as pieces:
            self.worked = True
            async for line in lines(pieces):
                yield self._event(_parse(line, path))

    def _params(self, seconds: int) -> list[tuple[str, str]]:
        selectors = (("labelSelector", self._labels), ("fieldSelector", self._fields))
        return [
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", self.version),
            ("timeoutSeconds", str(seconds)),
            *((key, value) for key, value in selectors if value),
        ]

    def _event(self, line: dict[str, Any]) -> WatchEvent | None:
        kind, value = line["type"], line["object"]
        self.version = value["metadata"]["resourceVersion"]
        if kind not in _CHANGES:
            return None
        event = WatchEvent(EventType(kind), value)
        if event.type is EventType.DELETED:
            self._known.pop(_identity(value), None)
        else:
            self._known[_identity(value)] = self._keep(value)
        return event

    async def _list(self) -> AsyncGenerator[WatchEvent, None]:
        """What must have happened between what is known and a new listing, page by page.

        What is gone comes before what is new: that may be another object of the same name.
        """
        gone = set(self._known)
        later: list[Object] = []
        version = ""
        pages = self._client.pages(
            self._resource,
            namespace=self._namespace,
            labels=self._labels,
            fields=self._fields,
            limited=self._paged,
        )
        async with aclosing(pages):
            async for page in pages:
                version = page.resource_version
                gone.difference_update(map(_identity, page.items))
                later += filter(self._is_news, page.items)
                if not gone:
                    for item in later:
                        yield self._learn(item)
                    later.clear()
        for identity in gone:
            yield WatchEvent(EventType.DELETED, self._known.pop(identity))
        for item in later:
            yield self._learn(item)
        self.version = version

    def _is_news(self, item: Object) -> bool:
        before = self._known.get(_identity(item))
        return before is None or _version(before) != _version(item)

    def _learn(self, item: Object) -> WatchEvent:
        kind = EventType.MODIFIED if _identity(item) in self._known else EventType.ADDED
        self._known[_identity(item)] = self._keep(item)
        return WatchEvent(kind, item)


_CHANGES = ("ADDED", "MODIFIED", "DELETED")


def _identity(item: Object) -> str:
    identity: str = item["metadata"]["uid"]
    return identity


def _version(item: Object) -> str:
    version: str = item["metadata"]["resourceVersion"]
    return version


def _whole(item: Object) -> Object:
    return item


def _brief(item: Object) -> Object:
    return {"metadata": {"uid": _identity(item), "resourceVersion": _version(item)}}


def _parse(line: bytes, path: str) -> dict[str, Any]:
    """One event. Raises the ApiError that an ERROR event stands for."""
    what = action("GET", path, watch=True)
    try:
        event = json.loads(line)
        kind, value = event["type"], event["object"]
        if kind == "ERROR":
            raise from_status(status_of(value), what)
        _identity(value)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConnectionFailed(
            "The API server's stream of events broke off in the middle of one",
            "Look for a proxy, VPN or firewall on the way",
            action=what,
            transient=True,
        ) from error
    return {"type": kind, "object": value}


async def lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Cut a stream into its lines without their ends; one line may be of any length.

    An unfinished last line is given too.
    """
    parts: list[bytes] = []
    async for piece in pieces:
        *finished, rest = piece.split(b"\n")
        for line in finished:
            parts.append(line)
            whole = b"".join(parts)
            parts.clear()
            if whole:
                yield whole
        parts.append(rest)
    last = b"".join(parts)
    if last:
        yield last
