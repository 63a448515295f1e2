"""Kubernetes `Status` objects, as error answers and ERROR watch events carry them.

See https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# Proxies answer with whole HTML pages, of which nobody wants to read more than a line.
_TEXT_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Cause:
    """One of the reasons that a Status lists."""

    reason: str
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Status:
    """The parts of a `Status` that errors are told apart by; `code` is the HTTP status.

    `kind` and `name` are of the object that is in the way; `retry_after` is in seconds, None
    when the server did not say.
    """

    code: int
    reason: str = ""
    message: str = ""
    kind: str = ""
    name: str = ""
    causes: tuple[Cause, ...] = ()
    retry_after: float | None = None

    def has_cause(self, reason: str) -> bool:
        """Whether one of the causes has this reason."""
        return any(cause.reason == reason for cause in self.causes)


def parse_status(code: int, body: bytes, headers: Mapping[str, str]) -> Status:
    """Read an error answer; of a body that is not a Status the beginning is kept as message."""
    retry_after = _seconds(headers.get("Retry-After"))
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and value.get("kind") == "Status":
        return status_of(value, code=code, retry_after=retry_after)
    text = " ".join(body.decode("utf-8", "replace").split())
    message = text[:_TEXT_CHARACTERS] + ("…" if len(text) > _TEXT_CHARACTERS else "")
    return Status(code=code, message=message, retry_after=retry_after)


def status_of(
    value: Mapping[str, Any], *, code: int = 500, retry_after: float | None = None
) -> Status:
    """A :class:`Status` of its JSON form; `code` and `retry_after` are for what it lacks."""
    details = value.get("details")
    details = details if isinstance(details, dict) else {}
    causes = details.get("causes")
    given = value.get("code")
    return Status(
        code=given if type(given) is int else code,
        reason=str(value.get("reason") or ""),
        message=str(value.get("message") or ""),
        kind=str(details.get("kind") or ""),
        name=str(details.get("name") or ""),
        causes=tuple(_cause(c) for c in causes if isinstance(c, dict))
        if isinstance(causes, list)
        else (),
        retry_after=retry_after or _seconds(details.get("retryAfterSeconds")),
    )


def _cause(value: Mapping[str, Any]) -> Cause:
    return Cause(
        reason=str(value.get("reason") or ""),
        field=str(value.get("field") or ""),
        message=str(value.get("message") or ""),
    )


def _seconds(value: object) -> float | None:
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return seconds if 0 < seconds < float("inf") else None
