"""The sessions that share an agent: each with what is its own here, until it has left or is gone.

A session says by its hello which transports are its own: by a word that nobody else knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Hashable, Mapping
from datetime import datetime, timezone
from typing import Any, Callable

from towline.agent import pod
from towline.agent.context import WAITING_BYTES
from towline.agent.direct import Direct
from towline.agent.telling import tell_users
from towline.relay.outbox import Allowance
from towline.relay.peer import Peer
from towline.relay.request import Message, StreamReset
from towline.relay.stream import Stream
from towline.wire.budget import Budget

# What may wait here for one of them, or for whom it speaks to: one who floods or stalls leaves the
# pod's memory to the others. And by how much the windows of a transport may grow, within that.
MOST_BYTES = 64 * 1024 * 1024
MOST_GROWTH = 16 * 1024 * 1024
# Of the pod's memory, for all of them: the rest is the interpreter's and the kernel's buffers.
WAITING_PART = 2
GROWTH_PART = 4
# Of what is said in a hello, and shown to others.
_LONGEST_WORD = 128


class User:
    """One session: whose it is, and what it has in this pod besides its streams."""

    def __init__(self, accept: Callable[[], Peer], who: str = "", command: str = "") -> None:
        self.who = who
        self.command = command
        self.since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.grace_seconds = 0.0
        self.waiting = Allowance(WAITING_BYTES)  # what is for a session that is too slow
        self.stalled: Allowance | None = None
        self.direct = Direct(accept)
        self.peers: set[Peer] = set()
        self.has_left = False
        self.expiry: asyncio.TimerHandle | None = None

    def told(self) -> dict[str, str]:
        """What others may know of it."""
        return {"who": self.who, "command": self.command, "since": self.since}


class Users:
    """All of them. `accept` makes a transport's protocol; `over` is called when the last is gone.

    One that is cut off is waited for as long as it has asked for; one that says goodbye is not.
    In the beginning somebody is waited for until `first_seconds` are over.
    """

    def __init__(
        self,
        accept: Callable[[], Peer],
        over: Callable[[], object],
        grace_seconds: float,
        first_seconds: float,
    ) -> None:
        self._accept = accept
        self._over = over
        self._grace_seconds = grace_seconds
        memory = pod.memory_limit()
        self._waiting = Allowance(memory // WAITING_PART)
        self._growth = Budget(memory // GROWTH_PART)
        self._users: dict[Hashable, User] = {}
        self._of: dict[Peer, tuple[Hashable, User]] = {}
        self._told: list[dict[str, str]] = []
        self._loop = asyncio.get_running_loop()
        self._nobody = self._loop.call_later(first_seconds, self._end_if_empty)

    def budget(self) -> Budget:
        """What the windows of one more transport may take."""
        return Budget(MOST_GROWTH, within=self._growth)

    def greet(self, peer: Peer, hello: Mapping[str, Any]) -> None:
        """A transport has come up, of the session that its hello tells."""
        self._nobody.cancel()
        key: Hashable = _word(hello.get("session")) or peer
        user = self._users.get(key)
        if user is None:
            who, command = _word(hello.get("who")), _word(hello.get("command"))
            user = self._users[key] = User(self._accept, who, command)
            user.waiting = user.stalled = Allowance(MOST_BYTES, within=self._waiting)
        user.grace_seconds = _seconds(hello.get("grace"), self._grace_seconds)
        if user.expiry is not None:
            user.expiry.cancel()
            user.expiry = None
        user.peers.add(peer)
        self._of[peer] = (key, user)
        self._tell()

    def of(self, peer: Peer) -> User:
        """Whose transport it is, which has said hello."""
        return self._of[peer][1]

    async def serve(self, peer: Peer, stream: Stream, asked: Message) -> None:
        """Tell a session, in JSON, who else uses the agent."""
        with contextlib.suppress(StreamReset):
            await asked.done
            others = [user.told() for user in self._there() if user is not self.of(peer)]
            asked.answer(json.dumps(others).encode())

    def leave(self, peer: Peer) -> None:
        """Its session says goodbye, for itself alone."""
        if peer in self._of:
            self._end(*self._of[peer])

    def lost(self, peer: Peer) -> None:
        """It is gone; its session may come back, unless that has left."""
        if peer not in self._of:
            return
        key, user = self._of.pop(peer)
        user.peers.discard(peer)
        if user.peers:
            return
        if user.has_left:
            del self._users[key]
        else:
            # One that fell silent was given up late: its session is gone since then.
            until = peer.last_heard + user.grace_seconds
            user.expiry = self._loop.call_at(until, self._end, key, user)
            self._tell()

    def close(self) -> None:
        """Wait for nobody any more, and let nobody in."""
        self._nobody.cancel()
        for user in self._users.values():
            user.direct.close()
            if user.expiry is not None:
                user.expiry.cancel()

    def _end(self, key: Hashable, user: User) -> None:
        """A session has left, or is gone for good. Transports that it still has are its own."""
        user.has_left = True
        user.direct.close()
        if not user.peers:
            del self._users[key]
        self._tell()
        self._end_if_empty()

    def _end_if_empty(self) -> None:
        if all(user.has_left for user in self._users.values()):
            self._over()

    def _there(self) -> list[User]:
        return [user for user in self._users.values() if user.peers and not user.has_left]

    def _tell(self) -> None:
        told = [user.told() for user in self._there()]
        if told != self._told:
            self._told = told
            tell_users(told)


def _word(said: Any) -> str:
    """What may be shown of what a session says."""
    text = said if isinstance(said, str) else ""
    return "".join(filter(str.isprintable, text))[:_LONGEST_WORD]


def _seconds(said: Any, otherwise: float) -> float:
    is_time = isinstance(said, (int, float)) and math.isfinite(said) and said > 0
    return float(said) if is_time else otherwise
