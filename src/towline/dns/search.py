"""Asks the cluster for candidates: in parallel, each question once, the first name winning."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from towline.relay.dnsclient import answers
from towline.wire.dns import Message, Name, Rcode, Type, negative_ttl, query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from towline.dns.cache import Cache
    from towline.dns.counts import Counts
    from towline.dns.policy import Candidate
    from towline.dns.verdicts import Verdicts

logger = logging.getLogger(__name__)

AskCluster = Callable[[bytes], Awaitable[bytes]]
"""Sends a query through the link and returns the reply; raises when the link cannot."""

Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]
"""Runs a coroutine in a task of whoever owns them all."""

# A stub resolver gives up a try after 5 s; it must hear of a failure before.
TIMEOUT_SECONDS = 4.0

# How long a name that may be one of the world outside waits for a cluster that has fallen
# silent: while the link is being made anew, the rest of the world must not stand still.
BRIEF_SECONDS = 0.5

# How long the cluster's word on a gate holds, both ways. CoreDNS caches denials as long.
GATE_SECONDS = 30.0
# How long a denial holds that does not say (RFC 2308 §5 leaves that to the resolver): as long
# as one of CoreDNS by default.
DENIAL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A message from the cluster, as it came and as it reads."""

    data: bytes
    message: Message


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search came to.

    `reply` is the answer if `found`; else the last denial, which is that of the name taken most
    literally, or None if no candidate's gate exists. `silent` means that a candidate got no
    answer, or only an error in `reply`, so nothing is known.
    """

    candidate: Candidate | None = None
    reply: Reply | None = None
    found: bool = False
    silent: bool = False


class ClusterSearch:
    """Asks the cluster, and remembers what it says exists."""

    def __init__(
        self,
        ask: AskCluster,
        spawn: Spawn,
        verdicts: Verdicts,
        cache: Cache,
        counts: Counts,
        *,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._ask = ask
        self._spawn = spawn
        self._verdicts = verdicts
        self._cache = cache
        self._counts = counts
        self._timeout = timeout
        self._is_answering = True
        self._asking: dict[bytes, asyncio.Task[Reply | None]] = {}

    def may_exist(self, candidates: Sequence[Candidate]) -> bool | None:
        """Tell whether a candidate may exist: None if the cluster has not said yet or long ago.

        A candidate that was there when last heard of is taken to be there still.
        """
        verdicts = [self._standing(candidate) for candidate in candidates]
        if any(verdicts):
            return True
        return None if None in verdicts else False

    def were_denied(self, candidates: Sequence[Candidate]) -> bool:
        """Tell whether the cluster had none of the candidates when it was last asked."""
        return all(c.gate is not None and self._verdicts.last(c.gate) is False for c in candidates)

    async def find(
        self, message: Message, candidates: Sequence[Candidate], *, brief: bool = False
    ) -> Outcome:
        """Ask for candidates and return the first, in their order, that exists.

        `brief` means not to wait for a cluster that has fallen silent.
        """
        seconds = self._timeout
        if brief and not self._is_answering:
            seconds = min(BRIEF_SECONDS, seconds)
        try:
            async with asyncio.timeout(seconds):
                return await self._first(
                    message, [c for c in candidates if not self._is_ruled_out(c)]
                )
        except TimeoutError:
            return Outcome(silent=True)

    async def _first(self, message: Message, candidates: list[Candidate]) -> Outcome:
        if len(candidates) == 1:
            return await self._try(message, candidates[0])
        denial, silence = Outcome(), None
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._try(message, c)) for c in candidates]
            for task in tasks:
                outcome = await task
                if outcome.found:
                    for other in tasks:
                        other.cancel()
                    return outcome
                if outcome.silent:
                    silence = silence or outcome
                elif outcome.reply is not None:
                    denial = outcome
        return silence or denial

    async def _try(self, message: Message, candidate: Candidate) -> Outcome:
        gate = candidate.gate
        if gate is not None and gate != candidate.name and not self._verdicts.fresh(gate):
            question = query(gate, Type.A)
            asking = self._task(question, question.encode(), GATE_SECONDS)
            # What was there is most likely there still, and need not be waited for.
            if not self._verdicts.last(gate):
                exists = _exists(await asyncio.shield(asking))
                if not exists:
                    return Outcome(silent=exists is None)
        reply = await self._reply(message.asking(candidate.name))
        exists = _exists(reply)
        if reply is None or exists is None:
            return Outcome(candidate, reply, silent=True)
        found = exists and (bool(reply.message.answers) or not candidate.container)
        return Outcome(candidate, reply, found=found)

    async def _reply(self, message: Message) -> Reply | None:
        data = message.encode()
        kept = self._cache.get(data)
        if kept is not None:
            self._counts.cached += 1
            return Reply(kept.encode(), kept)
        reply = await asyncio.shield(self._task(message, data))
        if reply is not None:
            self._cache.put(data, reply.data, reply.message)
        return reply

    def _task(
        self, message: Message, data: bytes, keep: float | None = None
    ) -> asyncio.Task[Reply | None]:
        """Return the task that asks `message`, the one that is at it already if there is one.

        `data` is the message as it is sent.

        `keep` is for how many seconds the name's existence is remembered, None for as long as
        the reply says. Await it shielded: who waits may be cancelled, but what the cluster
        says is worth knowing all the same, and others may wait for it too.
        """
        task = self._asking.get(data[2:])
        if task is None:
            task = self._asking[data[2:]] = self._spawn(self._exchange(message, data, keep))
            task.add_done_callback(lambda _: self._asking.pop(data[2:], None))
        return task

    async def _exchange(self, message: Message, data: bytes, keep: float | None) -> Reply | None:
        name = message.questions[0].name
        self._counts.cluster += 1
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._ask(data)
            reply = Reply(answer, Message.parse(answer)) if answers(answer, data) else None
        except Exception as error:  # whatever the link raises, there is no reply
            logger.debug("the cluster gave no reply for %s: %r", name, error, exc_info=True)
            reply = None
        self._is_answering = reply is not None
        if reply is not None:
            self._learn(name, reply, keep)
        return reply

    def _learn(self, name: Name, reply: Reply, keep: float | None) -> None:
        exists = _exists(reply)
        if exists is None:
            return
        if keep is None:
            keep = GATE_SECONDS if exists else _denial_seconds(reply.message)
        self._verdicts.learn(name, exists, keep)

    def _is_ruled_out(self, candidate: Candidate) -> bool:
        return candidate.gate is not None and self._verdicts.fresh(candidate.gate) is False

    def _standing(self, candidate: Candidate) -> bool | None:
        if candidate.gate is None or self._verdicts.last(candidate.gate):
            return True
        return self._verdicts.fresh(candidate.gate)


def _exists(reply: Reply | None) -> bool | None:
    """Return what a reply says of its question's name; None if nothing.

    NXDOMAIN after a CNAME is about the end of the chain (RFC 6604 §3).
    """
    if reply is None:
        return None
    if reply.message.rcode == Rcode.NXDOMAIN:
        return bool(reply.message.answers)
    return True if reply.message.rcode == Rcode.NOERROR else None


def _denial_seconds(message: Message) -> float:
    ttl = negative_ttl(message)
    return DENIAL_SECONDS if ttl is None else min(ttl, GATE_SECONDS)
