"""How a session is doing, and what its user is told when its link comes and goes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from towline.errors import TowlineError
    from towline.kube.config import Access


Answer = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Answers a request of another process, which has values; fit for JSON."""


class Narrator(Protocol):
    """Tells the user how it goes."""

    def progress(self, message: str) -> None:
        """What is being waited for now."""

    def event(self, name: str, message: str, **data: Any) -> None:
        """Something that happened, with its data for machines."""


def note(tell: Narrator, error: TowlineError) -> None:
    """Tell of an error that does not end the session."""
    text = f"{error.summary}. {error.hint}"
    tell.event("note", text, what=error.summary, hint=error.hint)


class SessionState:
    """The state of one session: starting, connected, reconnecting, ending.

    It is its link's observer (:class:`towline.link.link.Observer`), and narrates for what keeps its
    agent. `doubt` is called when the link is lost; `agent` names the agent's pod.
    """

    def __init__(
        self,
        command: str,
        access: Access,
        tell: Narrator,
        doubt: Callable[[], None],
        agent: Callable[[], str],
    ) -> None:
        self._command = command
        self._access = access
        self._tell = tell
        self._doubt = doubt
        self._agent = agent
        self._state = "starting"
        self._since = _now()
        self._began = time.monotonic()
        self._seconds = 0.0
        self._reconnects = 0
        self._lost_at = 0.0
        self._lost_agent = ""
        self._waiting = ""
        # What the link last was lost for, or last failed to come back for.
        self._failure: dict[str, str] | None = None

    def status(self) -> dict[str, Any]:
        """What there is to say of any session, fit for JSON."""
        return {
            "command": self._command,
            "pid": os.getpid(),
            "state": self._state,
            "context": self._access.context,
            "namespace": self._access.namespace,
            "server": self._access.server,
            "since": self._since,
            "seconds": round(self._seconds, 3),
            "tasks": len(asyncio.all_tasks()),
            "agent": self._agent(),
            "reconnects": self._reconnects,
            "failure": self._failure,
            "waiting": self._waiting,
        }

    def progress(self, message: str) -> None:
        """What is waited for; the status says so, too, until the link is up."""
        if self._state != "connected":
            self._waiting = message
        self._tell.progress(message)

    def event(self, name: str, message: str, **data: Any) -> None:
        """Something that happened."""
        self._tell.event(name, message, **data)

    def live(self) -> None:
        """Everything is there."""
        self._state = "connected"
        self._waiting = ""
        self._seconds = time.monotonic() - self._began

    def ending(self) -> None:
        """It is being taken down."""
        self._state = "ending"

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """Inside, everything is there; then it is being taken down."""
        self.live()
        try:
            yield
        finally:
            self.ending()

    def link_up(self) -> None:
        """The link is there, for the first time or again."""
        self._waiting = ""
        if self._state == "reconnecting":
            self._state = "connected"
            self._reconnects += 1
            seconds = round(time.monotonic() - self._lost_at, 1)
            is_new = self._agent() != self._lost_agent
            self._tell.event(
                "reconnected",
                f"The link to the cluster is back after {seconds} s"
                f"{', through a new agent' if is_new else ''}.",
                seconds=seconds,
                agent=self._agent(),
            )

    def link_down(self, reason: str) -> None:
        """The link is lost; it comes back by itself, through another agent if need be."""
        self._doubt()
        if self._state == "connected":
            self._state = "reconnecting"
            self._lost_at = time.monotonic()
            self._lost_agent = self._agent()
            self._note(reason)
            self._tell.event(
                "reconnecting", f"The link to the cluster is lost ({reason}); reconnecting."
            )

    def link_failing(self, reason: str) -> None:
        """It does not come up, or back, for a reason that is news."""
        if self._state == "starting":
            self._tell.progress(f"Waiting for the agent to answer: {reason}")
        elif self._state == "reconnecting":
            self._note(reason)
            self._tell.event("reconnecting", f"Still reconnecting: {reason}")

    def _note(self, reason: str) -> None:
        self._failure = {"at": _now(), "reason": reason}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
