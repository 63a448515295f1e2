"""Tells an agent the table of its mesh, which the agent's router then follows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from towline.agent.routing import pack
from towline.errors import AgentError
from towline.link.link import Link
from towline.relay.peer import LinkLost
from towline.relay.request import StreamReset, request
from towline.routing import envoy
from towline.routing.table import Participant, Table
from towline.wire.frames import Kind
from towline.wire.target import Target

# The agent itself gives up sooner, and says so.
PUSH_SECONDS = 40.0
#: What may go wrong with a push, and pass.
FAILURES = (LinkLost, StreamReset, TimeoutError, OSError, AgentError)


@dataclass(frozen=True, slots=True)
class InForce:
    """What an agent has: the revision, and for how many seconds nobody was there for a slot."""

    revision: int
    absent: Mapping[int, float]

    def absent_seconds(self, who: Participant) -> float:
        """For how long a participant has not been there; 0 if that is not known."""
        return min((self.absent.get(slot, 0.0) for slot in who.slots.values()), default=0.0)


async def push(link: Link, table: Table, seconds: float = PUSH_SECONDS) -> InForce:
    """Let the agent follow a table, unless it knows a newer one.

    Raises AgentError when its router refuses it, or whatever else of FAILURES.
    """
    said = await _ask(
        link,
        {
            "revision": table.revision,
            "listen": [
                {"port": slot.port, "original": _text(slot.original) if slot.original else None}
                for slot in table.slots()
            ],
            "files": envoy.files(table),
        },
        seconds,
    )
    if said["error"]:
        raise AgentError(f"The mesh's router does not follow: {said['error']}.")
    return _in_force(said)


async def ask(link: Link, seconds: float = PUSH_SECONDS) -> InForce:
    """What an agent has. Raises what passes of FAILURES."""
    return _in_force(await _ask(link, {"revision": 0}, seconds))


async def _ask(link: Link, table: Mapping[str, object], seconds: float) -> Mapping[str, object]:
    answer = await request(link.peer, Kind.ROUTE, pack(table), seconds)
    said: Mapping[str, object] = json.loads(answer)
    return said


def _in_force(said: Mapping[str, object]) -> InForce:
    revision, absent = said["revision"], said["absent"]
    assert isinstance(revision, int)
    assert isinstance(absent, dict)
    return InForce(revision, {int(slot): float(seconds) for slot, seconds in absent.items()})


def _text(target: Target) -> str:
    return f"{target.host}:{target.port}"
