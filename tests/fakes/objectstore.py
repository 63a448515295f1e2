"""What an API server remembers: objects of any kind, their versions, and what happened when."""

from __future__ import annotations

import asyncio
import copy
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple


class Collection(NamedTuple):
    """Where objects of one kind live: `api/v1` or `apis/GROUP/VERSION`, and the plural."""

    root: str
    plural: str


class Key(NamedTuple):
    """One object; `namespace` is "" for what lives in none."""

    collection: Collection
    namespace: str
    name: str


@dataclass(frozen=True)
class Happening:
    """One change of one object: `before` is None for an addition, `after` for a deletion."""

    version: int
    key: Key
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class Refused(Exception):  # noqa: N818
    """What a Status answer says; `key` is the object that is in the way."""

    def __init__(
        self, code: int, reason: str, message: str, key: Key | None = None, **details: Any
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.key, self.details = key, details


class ObjectStore:
    """Objects with resourceVersions from one counter, optimistic locking and garbage collection.

    `oldest` is the first version from which a watch can still go on; `bookmarks` counts how often
    the watches were to be told the present version.
    """

    def __init__(self) -> None:
        self.version = 1000
        self.oldest = 1000
        self.history: list[Happening] = []
        self.objects: dict[Key, dict[str, Any]] = {}
        self.bookmarks = 0
        self.changed = asyncio.Condition()

    @property
    def latest(self) -> int:
        """The version of the latest change; 0 when all are forgotten."""
        return self.history[-1].version if self.history else 0

    def get(self, key: Key) -> dict[str, Any]:
        if key not in self.objects:
            raise Refused(404, "NotFound", f'{key.collection.plural} "{key.name}" not found', key)
        return self.objects[key]

    async def create(self, key: Key, value: dict[str, Any], *, dry: bool = False) -> dict[str, Any]:
        if key in self.objects:
            message = f'{key.collection.plural} "{key.name}" already exists'
            raise Refused(409, "AlreadyExists", message, key)
        new = copy.deepcopy(value)
        new["metadata"] |= {
            "name": key.name,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": _now(),
            "generation": 1,
        }
        if key.namespace:
            new["metadata"]["namespace"] = key.namespace
        return new if dry else await self._put(key, new)

    async def update(self, key: Key, value: dict[str, Any]) -> dict[str, Any]:
        """Replace an object; one with another resourceVersion than the present is refused."""
        old = self.get(key)
        asked = value["metadata"].get("resourceVersion")
        if asked and asked != old["metadata"]["resourceVersion"]:
            raise Refused(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {key.collection.plural} "{key.name}": the '
                "object has been modified; please apply your changes to the latest version and "
                "try again",
                key,
            )
        new = copy.deepcopy(value)
        kept = ("name", "namespace", "uid", "creationTimestamp", "resourceVersion", "generation")
        new["metadata"] |= {k: old["metadata"][k] for k in kept if k in old["metadata"]}
        if new == old:
            return old
        if new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            return await self._remove(key)
        return await self._put(key, new)

    async def delete(self, key: Key, options: dict[str, Any]) -> dict[str, Any]:
        """Delete an object, or mark it as ending while it has finalizers."""
        old = self.get(key)
        for name, wanted in (options.get("preconditions") or {}).items():
            if old["metadata"][name] != wanted:
                raise Refused(
                    409,
                    "Conflict",
                    f"Precondition failed: {name} in precondition: {wanted}, {name} in object "
                    f"meta: {old['metadata'][name]}",
                    key,
                )
        if old["metadata"].get("finalizers"):
            ending = copy.deepcopy(old)
            ending["metadata"]["deletionTimestamp"] = _now()
            return await self._put(key, ending)
        removed = await self._remove(key)
        for dependent in self._owned_by(old["metadata"]["uid"]):
            if options.get("propagationPolicy") == "Orphan":
                orphan = copy.deepcopy(self.objects[dependent])
                del orphan["metadata"]["ownerReferences"]
                await self._put(dependent, orphan)
            else:
                await self.delete(dependent, {})
        return removed

    async def forget(self) -> None:
        """Compact the history: older versions than the present are gone."""
        self.version += 1
        self.oldest = self.version
        self.history.clear()

    async def bookmark(self) -> None:
        """Have every watch told the present version."""
        self.bookmarks += 1
        await self._tell()

    async def _tell(self) -> None:
        """Wake all who wait for a change."""
        async with self.changed:
            self.changed.notify_all()

    def _owned_by(self, uid: str) -> list[Key]:
        return [
            key
            for key, value in self.objects.items()
            if any(o["uid"] == uid for o in value["metadata"].get("ownerReferences", []))
        ]

    async def _put(self, key: Key, value: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        value["metadata"]["resourceVersion"] = str(self.version)
        before = self.objects.get(key)
        self.objects[key] = value
        self.history.append(Happening(self.version, key, before, value))
        await self._tell()
        return value

    async def _remove(self, key: Key) -> dict[str, Any]:
        self.version += 1
        before = self.objects.pop(key)
        # A DELETED event carries the version of the deletion, not of the last change.
        last = copy.deepcopy(before)
        last["metadata"]["resourceVersion"] = str(self.version)
        self.history.append(Happening(self.version, key, last, None))
        await self._tell()
        return last


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
