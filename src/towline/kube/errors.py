"""What the API server, or the way to it, can say no with.

ApiError                  exit code 4
├── Unauthorized          401: the credentials were not accepted
├── Forbidden             403, exit code 5: a right is missing, or a policy refused the object
│   └── QuotaExceeded     a ResourceQuota of the namespace is full
├── NotFound              404
├── AlreadyExists         409: a create met an object of that name
├── Conflict              409: the object changed since it was read
├── Gone                  410: a resourceVersion is too old to go on from
├── Invalid               other 4xx: the object or the request is not acceptable as it is
├── TooManyRequests       429
├── ServerError           5xx, and answers that no API server gives
└── ConnectionFailed      no answer at all: name, route, refusal, TLS, proxy or time
"""

from __future__ import annotations

# The names say what happened, as those of the API do; an "Error" behind each adds nothing.
# ruff: noqa: N818
from typing import TYPE_CHECKING

from towline.errors import AccessError, TowlineError
from towline.kube import wording
from towline.kube.resources import Action, action
from towline.kube.status import Status, parse_status

if TYPE_CHECKING:
    from collections.abc import Mapping


class ApiError(TowlineError):
    """The API server said no, or could not be reached.

    `action` is what was asked for; `status` what was answered, None when nothing was.
    """

    exit_code = 4

    def __init__(
        self,
        summary: str,
        hint: str = "",
        *,
        action: Action | None = None,
        status: Status | None = None,
    ) -> None:
        super().__init__(summary, hint)
        self.action = action
        self.status = status


class Unauthorized(ApiError):
    """401: the server does not know who is asking."""


class Forbidden(ApiError):
    """403: known, but not allowed; by RBAC, or by a policy that looked at the object."""

    exit_code = AccessError.exit_code


class QuotaExceeded(Forbidden):
    """403: the object would exceed a ResourceQuota."""


class NotFound(ApiError):
    """404: no such object, or no such resource type."""


class AlreadyExists(ApiError):
    """409 on a create: an object of that name is there."""


class Conflict(ApiError):
    """409: the object is not in the state that the request was made for."""


class Gone(ApiError):
    """410: the resourceVersion or continue token is no longer kept."""


class Invalid(ApiError):
    """Another 4xx: the server cannot accept the object or the request as it is."""


class TooManyRequests(ApiError):
    """429: the server wants to be asked later."""


class ServerError(ApiError):
    """5xx, or an answer that no API server gives."""


class ConnectionFailed(ApiError):
    """No answer. `transient` when the same request may do better in a moment.

    `sent` is False when the request surely never reached the server, so that repeating it is
    safe whatever it was.
    """

    def __init__(
        self,
        summary: str,
        hint: str = "",
        *,
        action: Action | None = None,
        transient: bool = False,
        sent: bool = True,
    ) -> None:
        super().__init__(summary, hint, action=action)
        self.transient = transient
        self.sent = sent


def from_response(
    method: str,
    path: str,
    code: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    watch: bool = False,
) -> ApiError:
    """The error for an HTTP answer that is no success; `path` is without the server's prefix."""
    return from_status(parse_status(code, body, headers), action(method, path, watch=watch))


def from_status(status: Status, what: Action) -> ApiError:
    """The error for a `Status`, in words for someone who asked for `what`."""
    kind = _kind(status)
    summary, hint = _WORDS[kind](status, what)
    return kind(summary, hint, action=what, status=status)


def _kind(status: Status) -> type[ApiError]:
    if status.code == 403 and "exceeded quota" in status.message:
        return QuotaExceeded
    if status.code == 409 and status.reason == "AlreadyExists":
        return AlreadyExists
    if status.code in _BY_CODE:
        return _BY_CODE[status.code]
    return Invalid if 400 <= status.code < 500 else ServerError


_BY_CODE: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    429: TooManyRequests,
}

_WORDS: dict[type[ApiError], wording.Wording] = {
    Unauthorized: wording.unauthorized,
    Forbidden: wording.forbidden,
    QuotaExceeded: wording.quota_exceeded,
    NotFound: wording.not_found,
    AlreadyExists: wording.already_exists,
    Conflict: wording.conflict,
    Gone: wording.gone,
    Invalid: wording.invalid,
    TooManyRequests: wording.too_many_requests,
    ServerError: wording.server_error,
}
