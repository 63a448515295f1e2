"""The session's resolver: a DNS server on loopback to which the machine's lookups are redirected.

The policy says what a question is about; the cluster or the machine's own nameservers answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from towline.dns.cache import Cache
from towline.dns.counts import Counts
from towline.dns.policy import IPAddress, Plan, Policy, lifetimes
from towline.dns.search import TIMEOUT_SECONDS, AskCluster, ClusterSearch, Outcome
from towline.dns.server import Listeners, Server, bind_loopback
from towline.dns.verdicts import Verdicts
from towline.errors import TowlineError
from towline.wire.dns import (
    MAX_MESSAGE_BYTES,
    QR,
    DnsError,
    Message,
    Rcode,
    formerr,
    nxdomain,
    read_header,
    servfail,
)

if TYPE_CHECKING:
    from types import TracebackType

logger = logging.getLogger(__name__)

# How long an answer of the cluster to a shorter name than was asked for waits for upstream's
# word on the name itself: longer than most take, and less than programs wait.
HEED_SECONDS = 2.0

# Between looks whether somebody has asked yet. One look does not see what is still on its way to a
# socket, nor a connection that asyncio has accepted and not told of: several must find nothing.
_LOOK_SECONDS = 0.005
_IDLE_LOOKS = 3

# The largest UDP payload on IPv4: 65535 less the headers.
_MAX_DATAGRAM_BYTES = 65507

AskUpstream = Callable[[bytes, bool], Awaitable[bytes]]
"""Passes a query on as it is, by TCP if the flag says so; raises when nobody replies."""

OnAnswer = Callable[[Mapping[IPAddress, int]], Awaitable[None]]
"""Told of the addresses in an answer of the cluster before the client is, and for how many
seconds they hold."""


class Resolver:
    """Serves from entering the context until leaving it, which must happen in the same task.

    Every query gets a reply in bounded time: SERVFAIL when who should answer does not, never
    a denial that nobody gave.
    """

    def __init__(
        self,
        *,
        ask_cluster: AskCluster,
        ask_upstream: AskUpstream,
        policy: Policy,
        on_answer: OnAnswer,
        cluster_timeout: float = TIMEOUT_SECONDS,
        cache_seconds: float = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`cluster_timeout`, seconds, is for all that one query needs of the cluster.

        It bounds `on_answer` too. If that takes longer, the answer is not handed out. Answers of
        the cluster are kept for `cache_seconds` at most.
        """
        self._ask_upstream = ask_upstream
        self._policy = policy
        self._on_answer = on_answer
        self._timeout = cluster_timeout
        self._tasks: set[asyncio.Task[Any]] = set()
        self.counts = Counts()
        self._cache = Cache(cache_seconds, clock)
        self._search = ClusterSearch(
            ask_cluster,
            self._spawn,
            Verdicts(clock),
            self._cache,
            self.counts,
            timeout=cluster_timeout,
        )

    async def __aenter__(self) -> Self:
        """Bind the sockets and serve; raise ServerError if that is not possible."""
        self._listeners: Listeners = bind_loopback()
        self._server = Server(self._listeners, self.answer, self._spawn)
        self._group = await asyncio.TaskGroup().__aenter__()
        try:
            await self._server.start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the sockets and end all work."""
        await self._end()

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        # The group need not know of an error that is not its own: it would wrap it.
        await self._group.__aexit__(None, None, None)

    @property
    def port(self) -> int:
        """The one port of all sockets."""
        return self._listeners.port

    @property
    def addresses(self) -> tuple[str, ...]:
        """The loopback addresses that are served: 127.0.0.1, and ::1 if the machine has it."""
        return self._listeners.addresses

    def forget(self) -> None:
        """Keep no answer any longer: who gave them is gone."""
        self._cache.clear()

    async def finish(self, seconds: float) -> None:
        """Wait until all has been answered, when nobody asks any more; or so long."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        idle_looks = 0
        # Not asyncio.timeout: in Python 3.11 it does not work in a task that was cancelled.
        while idle_looks < _IDLE_LOOKS and (left := end - loop.time()) > 0:
            if self._tasks:
                await asyncio.wait(tuple(self._tasks), timeout=left)
            await asyncio.sleep(_LOOK_SECONDS)
            is_idle = not self._tasks and self._server.is_idle
            idle_looks = idle_looks + 1 if is_idle else 0

    async def answer(self, data: bytes, tcp: bool) -> bytes | None:
        """Return the reply to one message from a client, None for what deserves none."""
        try:
            if read_header(data)[1] & QR:
                return None
            query = Message.parse(data)
        except DnsError:
            malformed = formerr(data)
            return None if malformed is None else malformed.encode()
        self.counts.lookups += 1
        try:
            reply = await self._reply(query, data, tcp)
        except TimeoutError:
            logger.debug("its addresses could not be announced in time")
            reply = None
        except Exception as error:  # the client is to hear of it, and the others to go on
            logger.info("a query could not be answered: %r", error, exc_info=True)
            reply = None
        if reply is None:
            reply = servfail(query).encode()
        self._count(reply)
        return reply

    def _count(self, reply: bytes) -> None:
        rcode = read_header(reply)[1] & 0xF
        self.counts.nxdomain += rcode == Rcode.NXDOMAIN
        self.counts.failed += rcode == Rcode.SERVFAIL

    async def _reply(self, query: Message, data: bytes, tcp: bool) -> bytes | None:
        if query.opcode != 0 or len(query.questions) != 1:
            return await self._from_upstream(data, tcp)
        plan = self._policy.plan(query.questions[0])
        if not plan.candidates and not plan.late:
            return await self._from_upstream(data, tcp)
        return await self._from_both(query, data, plan, tcp)

    async def _from_upstream(self, data: bytes, tcp: bool) -> bytes | None:
        self.counts.upstream += 1
        try:
            return await self._ask_upstream(data, tcp)
        except Exception as error:  # whatever is raised, there is no reply
            logger.debug("no reply from upstream: %r", error, exc_info=True)
            return None

    async def _from_both(self, query: Message, data: bytes, plan: Plan, tcp: bool) -> bytes | None:
        """Ask the cluster, and upstream at the same time if the name most likely is not its.

        A name of which the cluster has not spoken yet may be its own, and is nobody else's to
        know.
        """
        expected = self._search.may_exist(plan.candidates)
        upstream = late = None
        if plan.upstream and not expected and self._search.were_denied(plan.candidates):
            upstream = self._spawn(self._from_upstream(data, tcp))
            late = self._spawn(self._search_late(query, plan)) if plan.late else None
        try:
            is_open = plan.upstream and not expected
            outcome = await self._search.find(query, plan.candidates, brief=is_open)
            if outcome.found or not plan.upstream or (outcome.silent and not is_open):
                return await self._from_cluster(query, outcome, tcp)
            upstream = upstream or self._spawn(self._from_upstream(data, tcp))
            late = late or self._spawn(self._search_late(query, plan))
            return await self._from_outside(query, plan, outcome, upstream, late, tcp)
        finally:
            for task in (upstream, late):
                if task is not None:
                    task.cancel()

    async def _from_outside(
        self,
        query: Message,
        plan: Plan,
        outcome: Outcome,
        upstream: asyncio.Task[bytes | None],
        late: asyncio.Task[Outcome],
        tcp: bool,
    ) -> bytes | None:
        """Take upstream's answer, else a late candidate's; a denial only when all have spoken."""
        if plan.late:
            await asyncio.wait({upstream}, timeout=HEED_SECONDS)
            if not upstream.done() and (await late).found:
                return await self._from_cluster(query, late.result(), tcp)
        reply = await upstream
        if _is_positive(reply):
            return reply
        if outcome.silent and not plan.shared:
            outcome = await self._search.find(query, plan.candidates)
        for found in (outcome, await late):
            if found.found:
                return await self._from_cluster(query, found, tcp)
        return None if outcome.silent or late.result().silent else reply

    async def _search_late(self, query: Message, plan: Plan) -> Outcome:
        try:
            return await self._search.find(query, plan.late, brief=True)
        except Exception as error:  # it is a task: who awaits it must get an outcome
            logger.info("late names could not be looked for: %r", error, exc_info=True)
            return Outcome(silent=True)

    async def _from_cluster(self, query: Message, outcome: Outcome, tcp: bool) -> bytes | None:
        if outcome.silent and outcome.reply is None:
            return None
        if outcome.reply is None or outcome.candidate is None:
            return nxdomain(query).encode()
        found = lifetimes(outcome.reply.message)
        if found:
            await self._announce(found)
        limit = MAX_MESSAGE_BYTES if tcp else min(query.udp_limit, _MAX_DATAGRAM_BYTES)
        asked, name = query.questions[0].name, outcome.candidate.name
        if asked == name and len(outcome.reply.data) <= limit:
            return query.id.to_bytes(2, "big") + outcome.reply.data[2:]
        message = outcome.reply.message.renamed(name, asked)
        return replace(message, id=query.id).encode(limit)

    async def _announce(self, found: Mapping[IPAddress, int]) -> None:
        """Tell of addresses; the name has them also when they cannot be reached."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._on_answer(found)
        except TowlineError as error:
            logger.debug("addresses in an answer lead nowhere: %s", error)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _is_positive(reply: bytes | None) -> bool:
    return reply is not None and read_header(reply)[1] & 0xF == Rcode.NOERROR
