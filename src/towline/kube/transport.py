"""HTTP to one API server: the one place for credentials, retries and connection failures."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from towline import __version__
from towline.kube import auth, tls
from towline.kube.call import Call, Params, Patience
from towline.kube.errors import (
    ApiError,
    ConnectionFailed,
    ServerError,
    TooManyRequests,
    Unauthorized,
    from_response,
    from_status,
)
from towline.kube.failures import FAILURES, connection_failed
from towline.kube.proxy import proxy_for
from towline.kube.resources import action
from towline.kube.upgrade import Upgraded, upgrade

if TYPE_CHECKING:
    import ssl

    from towline.kube.config import Access

T = TypeVar("T")


class Transport:
    """Sends calls as the user of one :class:`Access`. Close it in the end.

    `request_count` is the number of HTTP requests sent so far, repeated ones included.
    """

    def __init__(
        self, access: Access, patience: Patience, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.request_count = 0
        self._access = access
        self._patience = patience
        self._credentials = auth.credentials(access)
        self._proxy = access.proxy or proxy_for(access.server, environ)
        self._base = str(URL(access.server)).rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._tls: tuple[auth.Credential, ssl.SSLContext] | None = None

    def renew(self) -> None:
        """Use no connection again that is idle now: it may be none any more, and say nothing.

        That needs TLS, of which each context has connections of its own; they close by themselves.
        """
        self._tls = None

    async def close(self) -> None:
        """Close all connections. Streams that are still open end."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def read(self, call: Call) -> bytes:
        """Send a call and read the whole answer. Raises ApiError or ConfigError."""

        async def attempt(credential: auth.Credential) -> bytes:
            response = await self._send(call, credential)
            try:
                async with response:
                    return await response.read()
            except FAILURES as error:
                raise self._failed(error, call) from error

        return await self._persist(attempt, repeatable=call.repeatable)

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[AsyncIterator[bytes]]:
        """Send a call and give its answer piece by piece as it arrives.

        Raises ApiError or ConfigError; once the answer has begun, only ConnectionFailed.
        """

        async def attempt(credential: auth.Credential) -> aiohttp.ClientResponse:
            return await self._send(call, credential)

        response = await self._persist(attempt, repeatable=call.repeatable)
        try:
            yield self._pieces(response, call)
        finally:
            _drop(response)

    async def upgrade(self, path: str, params: Params, subprotocols: Sequence[str]) -> Upgraded:
        """Turn a GET into a WebSocket; see :func:`towline.kube.upgrade.upgrade`.

        Always on a new connection: one that was kept may have died without a word, and an answer
        may take long, so that it would be waited for in vain.
        """
        call = Call("GET", path, params)

        async def attempt(credential: auth.Credential) -> Upgraded:
            self.request_count += 1
            try:
                return await self._upgrade(call, credential, subprotocols)
            except FAILURES as error:
                raise self._failed(error, call) from error
            except ApiError as error:
                if error.status is None:
                    raise
                # Told again in terms of the path that was asked for, without the prefix.
                raise from_status(error.status, action(call.method, path)) from error

        return await self._persist(attempt, repeatable=True)

    async def _persist(
        self, attempt: Callable[[auth.Credential], Awaitable[T]], *, repeatable: bool
    ) -> T:
        """Try until it works, or until there is no point in trying again."""
        for number in range(self._patience.attempts - 1):
            try:
                return await self._with_credential(attempt)
            except ApiError as error:
                wait = self._wait(error, number, repeatable=repeatable)
                if wait is None:
                    raise
            await asyncio.sleep(wait)
        return await self._with_credential(attempt)

    def _wait(self, error: ApiError, number: int, *, repeatable: bool) -> float | None:
        """Seconds after which to repeat what failed so; None not to repeat it."""
        asked = error.status.retry_after if error.status else None
        if asked is not None and asked > self._patience.longest_asked_wait:
            return None
        # The server says so before it has done anything, so that even a create is repeatable.
        turned_away = isinstance(error, TooManyRequests) and asked is not None
        unsent = isinstance(error, ConnectionFailed) and error.transient and not error.sent
        may_do_better = isinstance(error, TooManyRequests | ServerError) or (
            isinstance(error, ConnectionFailed) and error.transient
        )
        if turned_away or unsent or (repeatable and may_do_better):
            return max(asked or 0, self._patience.wait(number))
        return None

    async def _with_credential(self, attempt: Callable[[auth.Credential], Awaitable[T]]) -> T:
        """Try; if the credential is refused, once more with another one."""
        credential = await self._credentials.get()
        try:
            return await attempt(credential)
        except Unauthorized as error:
            newer = await self._newer(credential)
            if newer == credential:
                raise self._refused(error, credential) from error
        try:
            return await attempt(newer)
        except Unauthorized as error:
            raise self._refused(error, newer) from error

    async def _newer(self, refused: auth.Credential) -> auth.Credential:
        """One to use instead; the same when there is none.

        Whoever has signed in again may have a new one in the kubeconfig itself.
        """
        newer = await self._credentials.refresh(refused)
        if newer == refused and (user := self._access.user_now()) != self._access.user:
            self._access = replace(self._access, user=user)
            self._credentials = auth.credentials(self._access)
            return await self._credentials.get()
        return newer

    async def _send(self, call: Call, credential: auth.Credential) -> aiohttp.ClientResponse:
        """One request, up to the answer's headers; raises ApiError for one that says no."""
        headers = self._headers(credential)
        headers["Accept"] = "application/json"
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        self.request_count += 1
        try:
            response = await self._open_session().request(
                call.method,
                self._url(call),
                data=call.body,
                headers=headers,
                ssl=self._context(credential) or True,
                proxy=self._proxy or None,
                allow_redirects=False,
                timeout=self._timeout(call),
            )
            if 200 <= response.status < 300:
                return response
            async with response:
                body = await _beginning(response.content)
        except FAILURES as error:
            raise self._failed(error, call) from error
        raise from_response(
            call.method, call.path, response.status, body, response.headers, watch=call.is_watch
        )

    async def _pieces(self, response: aiohttp.ClientResponse, call: Call) -> AsyncIterator[bytes]:
        try:
            async for piece in response.content.iter_any():
                yield piece
        except FAILURES as error:
            raise self._failed(error, call) from error

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = _session(keepalive_timeout=_IDLE_SECONDS)
        return self._session

    async def _upgrade(
        self, call: Call, credential: auth.Credential, subprotocols: Sequence[str]
    ) -> Upgraded:
        session = _session()
        try:
            upgraded = await upgrade(
                session,
                self._url(call),
                headers=self._headers(credential),
                ssl=self._context(credential),
                proxy=self._proxy or None,
                subprotocols=subprotocols,
            )
        except BaseException:
            await session.close()
            raise
        # It has no connection any more; closing it could be cancelled, and nobody have the new one.
        session.detach()
        return upgraded

    def _url(self, call: Call) -> URL:
        url = URL(self._base + call.path, encoded=True)
        return url.with_query(list(call.params)) if call.params else url

    def _headers(self, credential: auth.Credential) -> CIMultiDict[str]:
        headers = CIMultiDict(auth.impersonation_headers(self._access.user.impersonation))
        headers["User-Agent"] = f"towline/{__version__}"
        if credential.authorization:
            headers["Authorization"] = credential.authorization
        return headers

    def _context(self, credential: auth.Credential) -> ssl.SSLContext | None:
        """The TLS context for a credential; None for a server without TLS.

        aiohttp keeps connections by context, so one certificate's connection is never used
        for another's request.
        """
        if not self._access.server.startswith("https:"):
            return None
        if self._tls is None or (self._tls[0].certificate, self._tls[0].key) != (
            credential.certificate,
            credential.key,
        ):
            context = tls.client_context(self._access.tls, credential.certificate, credential.key)
            self._tls = credential, context
        return self._tls[1]

    def _timeout(self, call: Call) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=None if call.read_timeout else self._patience.request_timeout,
            sock_connect=self._patience.connect_timeout,
            sock_read=call.read_timeout,
        )

    def _failed(self, error: BaseException, call: Call) -> ConnectionFailed:
        what = action(call.method, call.path, watch=call.is_watch)
        return connection_failed(error, self._access, self._proxy, what)

    def _refused(self, error: Unauthorized, credential: auth.Credential) -> Unauthorized:
        """Say which credentials were refused and, where that can be seen, why."""
        label = self._access.user.label
        why = ""
        expired = auth.expired_since(credential, time.time())
        if credential == auth.Credential():
            why = ": there are none"
        elif expired is not None:
            why = f": the token expired {_ago(expired)} ago"
        return Unauthorized(
            f"The cluster of the context {self._access.context} did not accept the credentials "
            f"of {label}{why}",
            "Sign in to the cluster again, or fetch its kubeconfig again",
            action=error.action,
            status=error.status,
        )


# Of an answer that says no; a Status of an Invalid object can be long.
_ERROR_BYTES = 1 << 20

# Shorter than API servers and most load balancers keep an idle connection, so that a request
# does not meet a connection that is just being closed.
_IDLE_SECONDS = 25.0

# A watch through a connection that died silently (sleep, NAT) must notice within minutes.
_KEEPALIVE_IDLE_SECONDS = 30
_KEEPALIVE_INTERVAL_SECONDS = 10
_KEEPALIVE_PROBES = 3


def _session(**of_connections: Any) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, socket_factory=_keepalive_socket, **of_connections)
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    )


def _drop(response: aiohttp.ClientResponse) -> None:
    """End a stream at once.

    Releasing would read on to the end of what has none, and closing would leave TLS to say
    goodbye to a server that is still talking.
    """
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()
    response.close()


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    while len(body) < _ERROR_BYTES and (piece := await content.readany()):
        body += piece
    return bytes(body[:_ERROR_BYTES])


def _keepalive_socket(address: Any) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE_IDLE_SECONDS),
        ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL_SECONDS),
        ("TCP_KEEPCNT", _KEEPALIVE_PROBES),
    ):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "a moment"
