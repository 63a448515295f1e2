"""What the fake API server does with each request, once it has let it in."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from tests.fakes import patching
from tests.fakes.objectstore import Collection, Happening, Key, ObjectStore, Refused
from tests.fakes.selectors import Matcher, matcher

#: The resourceAttributes of an access review; "" for what it does not name.
Attributes = Mapping[str, str]

_NAMESPACES = Collection("api/v1", "namespaces")


class Handlers:
    """Serves collections and objects of one store. `watches` are the open ones, by id()."""

    def __init__(self, store: ObjectStore, allows: Callable[[Attributes], bool]) -> None:
        self.watches: dict[int, web.Request] = {}
        self._store = store
        self._allows = allows

    async def collection(self, request: web.Request) -> web.StreamResponse:
        """List, watch or create."""
        key = key_of(request)
        if request.method == "POST":
            return await self._create(request, key)
        if request.method != "GET":
            raise Refused(405, "MethodNotAllowed", "the server does not allow this method")
        query = request.query
        try:
            fits = matcher(query.get("labelSelector", ""), query.get("fieldSelector", ""))
        except ValueError as error:
            raise Refused(400, "BadRequest", str(error)) from error
        if query.get("watch") in ("1", "true"):
            return await self._watch(request, key, fits)
        return self._list(request, key, fits)

    async def object(self, request: web.Request) -> web.StreamResponse:
        """Read, replace, patch or delete one object; a subresource is the object itself."""
        key = key_of(request)
        if request.method == "GET":
            return web.json_response(self._store.get(key))
        body = await request.json() if request.can_read_body else {}
        if request.method == "PUT":
            return web.json_response(await self._store.update(key, body))
        if request.method == "DELETE":
            return web.json_response(await self._store.delete(key, body))
        if request.method != "PATCH":
            raise Refused(405, "MethodNotAllowed", "the server does not allow this method")
        return await self._patch(request, key, body)

    async def _patch(self, request: web.Request, key: Key, body: Any) -> web.Response:
        kind = request.content_type
        if kind == "application/apply-patch+yaml":
            if "fieldManager" not in request.query:
                raise Refused(400, "BadRequest", "fieldManager is required for apply patch")
            if key not in self._store.objects:
                return web.json_response(await self._store.create(key, body), status=201)
        try:
            changed = patching.apply(kind, self._store.get(key), body)
        except (ValueError, LookupError) as error:
            raise Refused(422, "Invalid", str(error), key) from error
        if kind == "application/json-patch+json":
            # It says what it relies on with `test`, not with the version it was made from.
            changed["metadata"].pop("resourceVersion", None)
        if request.query.get("dryRun") == "All":
            return web.json_response(changed)
        return web.json_response(await self._store.update(key, changed))

    async def _create(self, request: web.Request, key: Key) -> web.Response:
        value = await request.json()
        if key.collection.plural == "selfsubjectaccessreviews":
            asked = _NOTHING_ASKED | value["spec"]["resourceAttributes"]
            answer = {**value, "status": {"allowed": self._allows(asked)}}
            return web.json_response(answer, status=201)
        if key.namespace:
            self._store.get(Key(_NAMESPACES, "", key.namespace))
        metadata = value.get("metadata") or {}
        name = metadata.get("name") or ""
        if not name and metadata.get("generateName"):
            name = f"{metadata['generateName']}{self._store.version}"
        if not name:
            raise _required("metadata.name", "name or generateName is required", key)
        dry = request.query.get("dryRun") == "All"
        made = await self._store.create(key._replace(name=name), value, dry=dry)
        return web.json_response(made, status=201)

    def _list(self, request: web.Request, key: Key, fits: Matcher) -> web.Response:
        items = [
            value
            for other, value in sorted(self._store.objects.items(), key=lambda item: item[0])
            if _covers(key, other) and fits(value)
        ]
        start, version = 0, self._store.version
        if "continue" in request.query:
            start, version = json.loads(base64.b64decode(request.query["continue"]))
            if version < self._store.oldest:
                raise Refused(410, "Expired", "The provided continue parameter is too old")
        end = start + int(request.query.get("limit", len(items)))
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if end < len(items):
            metadata["continue"] = base64.b64encode(json.dumps([end, version]).encode()).decode()
        return web.json_response({"metadata": metadata, "items": items[start:end]})

    async def _watch(self, request: web.Request, key: Key, fits: Matcher) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        self.watches[id(request)] = request
        try:
            await response.prepare(request)
            async with asyncio.timeout(float(request.query.get("timeoutSeconds", 300))):
                await self._send_events(request, response, key, fits)
        except (TimeoutError, ConnectionError):
            pass
        finally:
            del self.watches[id(request)]
        return response

    async def _send_events(
        self, request: web.Request, response: web.StreamResponse, key: Key, fits: Matcher
    ) -> None:
        store = self._store
        seen = int(request.query.get("resourceVersion") or store.version)
        bookmarks = store.bookmarks
        if seen < store.oldest:
            expired = Refused(410, "Expired", f"too old resource version: {seen} ({store.oldest})")
            await _send(response, "ERROR", status_value(expired))
            return
        while True:
            for happening in [h for h in store.history if h.version > seen]:
                seen = happening.version
                event = _event(happening, key, fits)
                if event:
                    await _send(response, *event)
            if store.bookmarks > bookmarks:
                bookmarks, seen = store.bookmarks, store.version
                if "allowWatchBookmarks" in request.query:
                    await _send(response, "BOOKMARK", {"metadata": {"resourceVersion": str(seen)}})
            async with store.changed:
                while store.latest <= seen and store.bookmarks <= bookmarks:
                    await store.changed.wait()


def key_of(request: web.Request) -> Key:
    """The object or, with an empty name, the collection that a request is about."""
    match = request.match_info
    collection = Collection(match["root"], match["plural"])
    return Key(collection, match.get("namespace", ""), match.get("name", ""))


def attributes_of(request: web.Request) -> Attributes:
    """A request as RBAC sees it."""
    match = request.match_info
    return _NOTHING_ASKED | {
        "verb": _verb(request),
        "group": _group(match["root"]),
        "resource": match["plural"],
        "subresource": match.get("subresource", ""),
        "namespace": match.get("namespace", ""),
        "name": match.get("name", ""),
    }


def status_value(refused: Refused) -> dict[str, Any]:
    """The Status object that says so."""
    details = dict(refused.details)
    if refused.key is not None:
        key = refused.key
        details |= {"kind": key.collection.plural, "group": _group(key.collection.root)}
        if key.name:
            details["name"] = key.name
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": refused.message,
        "reason": refused.reason,
        "details": details,
        "code": refused.code,
    }


def status_response(refused: Refused) -> web.Response:
    """The answer that says so."""
    return web.json_response(status_value(refused), status=refused.code)


_NOTHING_ASKED: dict[str, str] = dict.fromkeys(
    ("verb", "group", "resource", "subresource", "namespace", "name"), ""
)


def _verb(request: web.Request) -> str:
    named = bool(request.match_info.get("name"))
    if request.method == "GET" and not named:
        return "watch" if request.query.get("watch") in ("1", "true") else "list"
    verbs = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}
    return verbs.get(request.method, "delete" if named else "deletecollection")


def _group(root: str) -> str:
    return root.split("/")[1] if root.startswith("apis/") else ""


def _covers(collection: Key, other: Key) -> bool:
    return collection.collection == other.collection and (
        collection.namespace in ("", other.namespace)
    )


def _event(happening: Happening, key: Key, fits: Matcher) -> tuple[str, dict[str, Any]] | None:
    """The event that a change is for a watch: leaving the selector is being deleted."""
    if not _covers(key, happening.key):
        return None
    before = happening.before if happening.before and fits(happening.before) else None
    after = happening.after if happening.after and fits(happening.after) else None
    if after:
        return ("MODIFIED" if before else "ADDED"), after
    if before:
        version = {"resourceVersion": str(happening.version)}
        return "DELETED", {**before, "metadata": before["metadata"] | version}
    return None


def _required(field: str, message: str, key: Key) -> Refused:
    cause = {
        "reason": "FieldValueRequired",
        "field": field,
        "message": f"Required value: {message}",
    }
    text = f"{key.collection.plural} is invalid: {field}: Required value: {message}"
    return Refused(422, "Invalid", text, key, causes=[cause])


async def _send(response: web.StreamResponse, kind: str, value: dict[str, Any]) -> None:
    await response.write(json.dumps({"type": kind, "object": value}).encode() + b"\n")
