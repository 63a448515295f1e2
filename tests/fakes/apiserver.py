"""A small API server in memory, spoken to over real HTTP.

It keeps objects of any kind by path, with resourceVersions and conflicts, lists in pages, watches
with resume, bookmarks and 410, Status errors, access reviews, and faults on demand:

    async with ApiServer() as server, Client(server.access()) as client:
        server.fail(503, times=2)
        await client.create(PODS, {"metadata": {"name": "a"}}, namespace="default")
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from tests.fakes.apihandlers import Attributes, Handlers, attributes_of, key_of, status_response
from tests.fakes.objectstore import Collection, Key, ObjectStore, Refused
from towline.kube.config import Access, Tls, User

if TYPE_CHECKING:
    import ssl

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: Answers a request instead of the server, or gives None to let the server do it.
Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


@dataclass(frozen=True)
class Seen:
    """A request that came in."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


class ApiServer:
    """An API server on a loopback port while the `async with` lasts.

    `allows` is the RBAC: it decides access reviews and every request. `token`, when not empty,
    is the one bearer token that is accepted. `prefix` is a path before all others, as Rancher
    has it. `handlers` serve subresources, by (plural, subresource); `faults` are asked in turn
    before the server answers.
    """

    def __init__(
        self,
        *,
        allows: Callable[[Attributes], bool] = lambda attributes: True,
        token: str = "",
        prefix: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.allows = allows
        self.token = token
        self.store = ObjectStore()
        self.requests: list[Seen] = []
        self.faults: list[Fault] = []
        self.handlers: dict[tuple[str, str], Handler] = {}
        self.url = ""
        self._prefix = prefix
        self._tls = tls
        self._inside = Handlers(self.store, self._allows)
        self._runner = web.AppRunner(
            self._application(), access_log=None, shutdown_timeout=0, handler_cancellation=True
        )

    async def __aenter__(self) -> Self:
        for namespace in ("default", "kube-system"):
            await self.add("api/v1", "namespaces", {"metadata": {"name": namespace}})
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        port = self._runner.addresses[0][1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}{self._prefix}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.drop_watches()
        await self._runner.cleanup()

    def access(self, *, user: User | None = None, tls: Tls | None = None) -> Access:
        """How to reach this server."""
        return Access(
            server=self.url,
            namespace="default",
            context="fake",
            source="a test",
            tls=tls or Tls(),
            user=user or User(label="the user of the test", token=self.token),
        )

    async def add(
        self, root: str, plural: str, value: dict[str, Any], *, namespace: str = ""
    ) -> dict[str, Any]:
        """Put an object there without a request, as a controller would."""
        key = Key(Collection(root, plural), namespace, value["metadata"]["name"])
        return await self.store.create(key, value)

    def fail(
        self,
        code: int,
        *,
        times: int = 1,
        message: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer the next `times` requests with an error, a plain text."""

        async def fault(_: web.Request) -> web.StreamResponse | None:
            return web.Response(status=code, text=message, headers=headers)

        self.faults.append(_limited(fault, times))

    def hang_up(self, *, times: int = 1) -> None:
        """Cut the connections of the next `times` requests without an answer."""

        async def fault(request: web.Request) -> web.StreamResponse | None:
            _cut(request)
            return web.Response()

        self.faults.append(_limited(fault, times))

    @property
    def watchers(self) -> int:
        """How many watches are open."""
        return len(self._inside.watches)

    def drop_watches(self) -> None:
        """Cut all connections that carry a watch."""
        for request in list(self._inside.watches.values()):
            _cut(request)

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._middleware])
        root = self._prefix + r"/{root:api/v1|apis/[^/]+/[^/]+}"
        inside = root + "/namespaces/{namespace}/{plural}"
        routes = application.router
        routes.add_get(f"{self._prefix}/version", self._version)
        # A subresource of a namespace would look like a collection inside it: those come last.
        routes.add_route("*", inside + "/{name}/{subresource}", self._object)
        routes.add_route("*", inside + "/{name}", self._object)
        routes.add_route("*", inside, self._inside.collection)
        routes.add_route("*", root + "/{plural}/{name}/{subresource}", self._object)
        routes.add_route("*", root + "/{plural}/{name}", self._object)
        routes.add_route("*", root + "/{plural}", self._inside.collection)
        return application

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests.append(
            Seen(request.method, request.path, dict(request.query), dict(request.headers))
        )
        for fault in self.faults:
            answer = await fault(request)
            if answer is not None:
                return answer
        try:
            self._authorize(request)
            return await handler(request)
        except Refused as refused:
            return status_response(refused)
        except web.HTTPNotFound:
            message = "the server could not find the requested resource"
            return status_response(Refused(404, "NotFound", message))

    def _authorize(self, request: web.Request) -> None:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            raise Refused(401, "Unauthorized", "Unauthorized")
        if "plural" not in request.match_info:
            return
        asked = attributes_of(request)
        if asked["resource"] == "selfsubjectaccessreviews" or self.allows(asked):
            return
        where = f' in the namespace "{asked["namespace"]}"' if asked["namespace"] else ""
        raise Refused(
            403,
            "Forbidden",
            f'{asked["resource"]} is forbidden: User "tester" cannot {asked["verb"]} resource '
            f'"{asked["resource"]}" in API group "{asked["group"]}"{where}',
            key_of(request),
        )

    def _allows(self, asked: Attributes) -> bool:
        # By way of the attribute, which a test may replace at any time.
        return self.allows(asked)

    async def _object(self, request: web.Request) -> web.StreamResponse:
        match = request.match_info
        own = self.handlers.get((match["plural"], match.get("subresource", "")))
        return await (own or self._inside.object)(request)

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"major": "1", "minor": "35", "gitVersion": "v1.35.4"})


def _limited(fault: Fault, times: int) -> Fault:
    """The fault for so many requests, and then no more."""
    left = times

    async def limited(request: web.Request) -> web.StreamResponse | None:
        nonlocal left
        if left == 0:
            return None
        left -= 1
        return await fault(request)

    return limited


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
