"""The client of the Kubernetes API: typed verbs over resources, streams, and typed errors.

    async with Client(load_access()) as client:
        pod = await client.get(PODS, "web-0", namespace="dev")

Every method raises :class:`towline.kube.errors.ApiError`, or ConfigError when the kubeconfig's
files or exec plugin give no credentials. Objects are JSON as the server has it. `namespace`
must be given for an object of a namespaced resource, and None means all in lists and watches.
"""

from __future__ import annotations

import enum
import json
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from towline.kube.call import Call, Params, Patience
from towline.kube.errors import Gone, ServerError
from towline.kube.resources import Object, Resource, action

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from towline.kube.config import Access
    from towline.kube.upgrade import Upgraded


class PatchKind(enum.Enum):
    """The ways to say a change; the values are their content types."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


class Propagation(enum.Enum):
    """What becomes of the objects that a deleted one owns."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


@dataclass(frozen=True, slots=True)
class ObjectList:
    """A listing, and the version of the collection from which a watch can go on."""

    items: list[Object]
    resource_version: str


#: Who owns the fields that an apply sets.
FIELD_MANAGER = "towline"

# As kubectl: enough for most collections in one answer, and no answer too large.
_PAGE_ITEMS = 500


class Client:
    """A user's connection to one cluster; opened by the first request, closed by `async with`."""

    def __init__(self, access: Access, patience: Patience | None = None) -> None:
        # It takes as long to import as all else together, and many commands ask no cluster.
        from towline.kube.transport import Transport  # noqa: PLC0415

        self.access = access
        self.patience = patience or Patience()
        self._transport = Transport(access, self.patience)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._transport.close()

    def renew(self) -> None:
        """Connect anew for what comes; see :meth:`towline.kube.transport.Transport.renew`."""
        self._transport.renew()

    @property
    def request_count(self) -> int:
        """How many HTTP requests have been sent so far."""
        return self._transport.request_count

    async def get(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        subresource: str = "",
    ) -> Object:
        """Read one object."""
        return await self._json(Call("GET", resource.path(namespace, name, subresource)))

    async def get_raw(self, path: str, params: Params = ()) -> bytes:
        """Read what is at a path, such as `/version` or a pod's log."""
        return await self._transport.read(Call("GET", path, params))

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
    ) -> ObjectList:
        """Read all objects that match the selectors, in as few pages as it takes."""
        pages = partial(self.pages, resource, namespace=namespace, labels=labels, fields=fields)
        try:
            return await _whole(pages())
        except Gone:
            return await _whole(pages(limited=False))

    async def pages(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        limited: bool = True,
    ) -> AsyncGenerator[ObjectList, None]:
        """Read all objects that match the selectors page by page; unless `limited`, it is one.

        Raises Gone when the pages take longer than the server keeps the state that they are of.
        """
        params = _selectors(labels, fields)
        if limited:
            params.append(("limit", str(_PAGE_ITEMS)))
        more: list[tuple[str, str]] = []
        while True:
            page = await self._json(Call("GET", resource.path(namespace), [*params, *more]))
            metadata = page.get("metadata") or {}
            yield ObjectList(page.get("items") or [], metadata.get("resourceVersion", ""))
            if not metadata.get("continue"):
                return
            more = [("continue", metadata["continue"])]

    async def some(
        self, resource: Resource, number: int, *, namespace: str | None = None, labels: str = ""
    ) -> Sequence[Object]:
        """Read that many of the objects that match the selector, or fewer if there are no more."""
        params = [*_selectors(labels, ""), ("limit", str(number))]
        page = await self._json(Call("GET", resource.path(namespace), params))
        items: Sequence[Object] = page.get("items") or []
        return items

    async def create(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        namespace: str | None = None,
        name: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Create an object, or a subresource such as the eviction of the pod `name`.

        It is never sent twice unless the server surely did nothing the first time.
        """
        path = resource.path(namespace, name, subresource)
        params = [("dryRun", "All")] if dry_run else []
        return await self._json(Call("POST", path, params, json.dumps(body).encode()))

    async def patch(  # noqa: PLR0913 (as many as a patch has sides)
        self,
        resource: Resource,
        name: str,
        change: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        namespace: str | None = None,
        kind: PatchKind = PatchKind.MERGE,
        subresource: str = "",
        force: bool = False,
        dry_run: bool = False,
    ) -> Object:
        """Change an object, or with `dry_run` only learn what would come of it.

        With `metadata.resourceVersion` in a merge patch, a change by someone else in between
        raises Conflict. `force` takes over fields that others manage; it is for APPLY only.
        """
        params = [("dryRun", "All")] if dry_run else []
        if kind is PatchKind.APPLY:
            params += [("fieldManager", FIELD_MANAGER), ("force", "true" if force else "false")]
        path = resource.path(namespace, name, subresource)
        body = json.dumps(change).encode()
        return await self._json(Call("PATCH", path, params, body, kind.value))

    async def replace(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        namespace: str | None = None,
        subresource: str = "",
    ) -> Object:
        """Write a whole object back; its `metadata.resourceVersion` guards against others."""
        path = resource.path(namespace, body["metadata"]["name"], subresource)
        return await self._json(Call("PUT", path, (), json.dumps(body).encode()))

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        propagation: Propagation | None = None,
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
    ) -> Object:
        """Delete an object; with `uid` or `resource_version`, only that very one (else Conflict).

        Gives what the server answers: the object while it is ending, or a Status.
        """
        conditions = {"uid": uid, "resourceVersion": resource_version}
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation.value if propagation else None,
            "gracePeriodSeconds": grace_seconds,
            "preconditions": {k: v for k, v in conditions.items() if v} or None,
        }
        body = json.dumps({k: v for k, v in options.items() if v is not None}).encode()
        return await self._json(Call("DELETE", resource.path(namespace, name), (), body))

    def stream(
        self, path: str, params: Params, read_timeout: float
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """A context manager with an iterator over the pieces of a long answer.

        `read_timeout` is the longest silence, in seconds.
        """
        return self._transport.stream(Call("GET", path, params, read_timeout=read_timeout))

    async def upgrade(self, path: str, params: Params, subprotocols: Sequence[str]) -> Upgraded:
        """Open a WebSocket at an API path; see :func:`towline.kube.upgrade.upgrade`."""
        return await self._transport.upgrade(path, params, subprotocols)

    async def _json(self, call: Call) -> Object:
        answer = await self._transport.read(call)
        try:
            value = json.loads(answer)
        except ValueError:
            value = None
        if isinstance(value, dict):
            return value
        raise ServerError(
            f"The server {self.access.server} does not answer as a Kubernetes API does",
            f"Check the server address of the context {self.access.context} in "
            f"{self.access.source}; a sign-in page or a proxy may be in the way",
            action=action(call.method, call.path),
        )


async def _whole(pages: AsyncGenerator[ObjectList, None]) -> ObjectList:
    """All pages in one."""
    items: list[Object] = []
    version = ""
    async with aclosing(pages):
        async for page in pages:
            items += page.items
            version = page.resource_version
    return ObjectList(items, version)


def _selectors(labels: str, fields: str) -> list[tuple[str, str]]:
    pairs = (("labelSelector", labels), ("fieldSelector", fields))
    return [(key, value) for key, value in pairs if value]
