"""Credentials for the API server: fixed ones, token files, and exec plugins.

Each source gives the credential of the moment; after a 401 it is asked for a newer one. See
https://kubernetes.io/docs/reference/access-authn-authz/authentication/.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from towline.errors import ConfigError
from towline.kube.config import Access, Impersonation, Pem, User
from towline.kube.plugin import run_plugin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# As often as client-go does; the kubelet renews a pod's token long before it ends.
TOKEN_FILE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Credential:
    """What to show to the server: an Authorization header, a client certificate (PEM), both."""

    authorization: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)


class Credentials(Protocol):
    """A source of credentials. Both methods raise ConfigError when there are none to be had."""

    async def get(self) -> Credential:
        """The credential to use now."""

    async def refresh(self, refused: Credential) -> Credential:
        """One to use instead of `refused`; the same when there is no other."""


def credentials(access: Access) -> Credentials:
    """The source that a kubeconfig's user asks for.

    As with kubectl, an exec plugin is run only when the user has nothing else, and nothing is
    shown to a server without TLS.
    """
    user = access.user
    if not access.server.startswith("https:"):
        return _FromConfig(User())
    if user.exec and not (user.token or user.token_file or user.username or user.certificate):
        return _FromPlugin(access)
    return _FromConfig(user)


class _FromConfig:
    """What the kubeconfig holds or names; files are read again as they may be renewed."""

    def __init__(self, user: User, clock: Callable[[], float] = time.monotonic) -> None:
        self._user = user
        self._clock = clock
        self._current: Credential | None = None
        self._token = user.token
        self._token_read_at = float("-inf")

    async def get(self) -> Credential:
        if self._current is None or self._token_is_old():
            self._current = self._read()
        return self._current

    async def refresh(self, refused: Credential) -> Credential:
        if self._current == refused:
            self._token_read_at = float("-inf")
            self._current = self._read()
        return await self.get()

    def _token_is_old(self) -> bool:
        return (
            self._user.token_file is not None
            and self._clock() - self._token_read_at >= TOKEN_FILE_SECONDS
        )

    def _read(self) -> Credential:
        user = self._user
        if user.token_file:
            self._token = _token_in(user.token_file, otherwise=self._token)
            self._token_read_at = self._clock()
        authorization = ""
        if self._token:
            authorization = f"Bearer {self._token}"
        elif user.username:
            pair = f"{user.username}:{user.password}".encode()
            authorization = f"Basic {base64.b64encode(pair).decode()}"
        return Credential(authorization, _content(user.certificate), _content(user.key))


def _content(pem: Pem | None) -> bytes:
    return pem.read() if pem else b""


def _token_in(path: Path, *, otherwise: str) -> str:
    """The token in a file; the last one known while the file cannot be read."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        if otherwise:
            return otherwise
        raise ConfigError(
            f"The token file {path} that the kubeconfig names cannot be read: {error}",
            "Sign in to the cluster again, or correct the path in the kubeconfig",
        ) from error
    return token or otherwise


class _FromPlugin:
    """The credential that an exec plugin gave last, until it expires or is refused."""

    def __init__(self, access: Access, clock: Callable[[], float] = time.time) -> None:
        self._access = access
        self._clock = clock
        self._current: Credential | None = None
        self._expires = float("inf")
        # A plugin may open a browser or ask a question: never two at once.
        self._running = asyncio.Lock()
        self._runs = 0
        self._failure: ConfigError | None = None

    async def get(self) -> Credential:
        return await self._when(lambda: self._clock() >= self._expires)

    async def refresh(self, refused: Credential) -> Credential:
        return await self._when(lambda: self._current == refused)

    async def _when(self, is_stale: Callable[[], bool]) -> Credential:
        """The current credential, or a new one; whoever has waited for that shares its failure."""
        runs = self._runs
        async with self._running:
            if self._failure is not None and self._runs > runs:
                raise self._failure
            if self._current is None or is_stale():
                self._current = await self._tried()
            return self._current

    async def _tried(self) -> Credential:
        self._failure = None
        try:
            return await self._run()
        except ConfigError as error:
            self._failure = error
            raise
        finally:
            self._runs += 1

    async def _run(self) -> Credential:
        given = await run_plugin(self._access)
        self._expires = given.expires
        return Credential(
            authorization=f"Bearer {given.token}" if given.token else "",
            certificate=given.certificate,
            key=given.key,
        )


def impersonation_headers(wanted: Impersonation | None) -> list[tuple[str, str]]:
    """The Impersonate-* headers; a name repeats where there are several values."""
    if wanted is None:
        return []
    headers = [("Impersonate-User", wanted.user)]
    if wanted.uid:
        headers.append(("Impersonate-Uid", wanted.uid))
    headers += [("Impersonate-Group", group) for group in wanted.groups]
    for key, values in wanted.extra:
        # Percent-encoded but for what a header's name may have (RFC 9110, section 5.6.2).
        name = "Impersonate-Extra-" + quote(key, safe="!#$&'*+-.^_`|~")
        headers += [(name, value) for value in values]
    return headers


def expired_since(credential: Credential, now: float) -> float | None:
    """For how many seconds a token that is a JWT has been out of date; None if it is not."""
    parts = credential.authorization.removeprefix("Bearer ").split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        expiry = float(claims["exp"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return now - expiry if now > expiry else None
