"""The Kubernetes API from inside a pod, as the pod's service account.

Where it is and who we are is as Kubernetes has it for every pod:
https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
"""

# ruff: noqa: N818

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
CALL_SECONDS = 5.0
# That an authority may itself be signed by another, as ssl has it since Python 3.10.
_PARTIAL_CHAIN = ssl.VerifyFlags(0x80000)
# An object may have 1.5 MiB in etcd.
ANSWER_BYTES = 4 << 20


class ApiFailure(Exception):
    """The API did not do what it was asked for; the text says why."""


class Conflict(ApiFailure):
    """The object has changed since it was read."""


class NotFound(ApiFailure):
    """There is no such object."""


class ApiServer:
    """The cluster's API server; `folder` has the token and the certificate of its authority.

    Both are read for each call, as tokens are replaced while a pod runs. A call that is
    cancelled before it was sent is not sent any more.
    """

    def __init__(self, folder: str = SERVICE_ACCOUNT) -> None:
        self._folder = Path(folder)

    async def get(self, path: str) -> dict[str, Any]:
        """Read the object at an API path. Raises ApiFailure, within CALL_SECONDS."""
        return await self._call("GET", path, {}, None)

    async def patch(self, path: str, change: Mapping[str, Any]) -> dict[str, Any]:
        """Change an object by a merge patch (RFC 7386). Raises ApiFailure, as `get` does."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return await self._call("PATCH", path, headers, json.dumps(change))

    async def _call(
        self, method: str, path: str, headers: Mapping[str, str], body: str | None
    ) -> dict[str, Any]:
        try:
            headers = {**headers, **self._identity()}
            status, text = await _Call(self._connection()).run(method, path, headers, body)
        except asyncio.TimeoutError:
            raise ApiFailure(f"no answer within {CALL_SECONDS:g} s") from None
        except (OSError, http.client.HTTPException, KeyError, ValueError) as error:
            raise ApiFailure(f"{type(error).__name__}: {error}") from error
        return _answer(status, text)

    def _connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            os.environ["KUBERNETES_SERVICE_HOST"],
            int(os.environ["KUBERNETES_SERVICE_PORT"]),
            timeout=CALL_SECONDS,
            context=_trusting(str(self._folder / "ca.crt")),
        )

    def _identity(self) -> dict[str, str]:
        token = (self._folder / "token").read_text("ascii").strip()
        return {"Authorization": f"Bearer {token}", "User-Agent": "towline-agent"}


class _Call:
    """One request in a thread, which ends soon when nobody waits for it any more."""

    def __init__(self, connection: http.client.HTTPSConnection) -> None:
        self._connection = connection
        self._abandoned = False

    async def run(
        self, method: str, path: str, headers: Mapping[str, str], body: str | None
    ) -> tuple[int, bytes]:
        """Its status and body. Raises asyncio.TimeoutError, OSError, HTTPException, ValueError."""
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(None, self._ask, method, path, headers, body)
        try:
            # Before Python 3.12 `wait_for` may lose a cancellation that comes with the answer.
            await asyncio.wait({work}, timeout=CALL_SECONDS)
            if not work.done():
                raise asyncio.TimeoutError
            return work.result()
        finally:
            work.cancel()
            self._abandon()

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str], body: str | None
    ) -> tuple[int, bytes]:
        try:
            self._connection.connect()
            if self._abandoned:
                return 0, b""
            self._connection.request(method, path, body, dict(headers))
            response = self._connection.getresponse()
            return response.status, response.read(ANSWER_BYTES)
        finally:
            self._connection.close()

    def _abandon(self) -> None:
        """Let the thread's system calls return: the timeout is one for each of them."""
        self._abandoned = True
        connected = self._connection.sock
        if connected is not None:
            # The socket's own: that of SSLSocket would take TLS away under the thread.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _trusting(authority: str) -> ssl.SSLContext:
    """As a session does: since Python 3.13 `create_default_context` is stricter than many
    clusters' authorities, which have no identifier of their key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= _PARTIAL_CHAIN
    context.load_verify_locations(authority)
    return context


def _answer(status: int, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ApiFailure(f"{status} and no object in answer")
    if 200 <= status < 300:
        return value
    message = f"{status} {value.get('message', '')}"
    if status == 409:
        raise Conflict(message)
    # Without a name it is the kind that is not there, or no path at all.
    if status == 404 and (value.get("details") or {}).get("name"):
        raise NotFound(message)
    raise ApiFailure(message)
