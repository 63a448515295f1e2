"""Takes an interception back through the cluster's API, however long that takes."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any

from towline.agent.apiserver import ApiFailure, ApiServer, Conflict, NotFound
from towline.agent.undo import Record, disown, undo

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 15.0
# Whoever loses the race so often in a row is not in a race.
CONFLICTS = 5


@dataclass(frozen=True)
class Changed:
    """An object that an interception has changed: its API path, and the record that is on it."""

    path: str
    record: Record

    def to_json(self) -> str:
        """What `parse` reads, fit for an argument of a container."""
        text = json.dumps({"path": self.path, "record": json.loads(self.record.to_json())})
        return text.replace("$", "\\u0024")  # Kubernetes would expand it

    @classmethod
    def parse(cls, text: str) -> Changed:
        """Read `{"path": PATH, "record": {...}}`. Raises ValueError."""
        values = json.loads(text)
        if not (isinstance(values, dict) and isinstance(values.get("path"), str)):
            raise ValueError("what is to be undone has a path")
        return cls(values["path"], Record.from_values(values.get("record")))


async def undo_until_done(
    changed: Changed, api: ApiServer, first_wait_seconds: float = FIRST_WAIT_SECONDS
) -> None:
    """Undo what is still this record's; return when nothing is left to undo.

    Failures are tried again for ever, and told on standard error: once, until another comes.
    """
    wait, told = first_wait_seconds, ""
    while True:
        try:
            await _undo(changed, api)
            return
        except NotFound:
            return
        except ApiFailure as failure:
            if str(failure) != told:
                told = str(failure)
                sys.stderr.write(f"towline: {changed.path} cannot be put back yet: {told}\n")
                sys.stderr.flush()
        await asyncio.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT_SECONDS)


async def _undo(changed: Changed, api: ApiServer) -> None:
    for tries_left in reversed(range(CONFLICTS)):
        value = await api.get(changed.path)
        try:
            if change := undo(value, changed.record):
                value = await api.patch(changed.path, change)
            if disowning := disown(value):
                await _disown(changed, api, disowning)
            return
        except Conflict:
            if not tries_left:
                raise


async def _disown(changed: Changed, api: ApiServer, change: dict[str, Any]) -> None:
    """Manage no field any more, unless that fails for good: all is put right already.

    Raises Conflict.
    """
    try:
        await api.patch(changed.path, change)
    except Conflict:
        raise
    except ApiFailure:
        pass
