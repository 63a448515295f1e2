"""One's place in a mesh: a part in its table, the claims for that, and the care for both."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NoReturn

from towline.errors import SessionError, TowlineError, UsageError
from towline.features.downlink.participation import NotSharedError, Participation
from towline.features.downlink.pushing import FAILURES, InForce, ask, push
from towline.features.local.delivery import Delivery
from towline.kube.resources import Object
from towline.link.link import Link
from towline.relay.peer import Peer
from towline.routing import envoy
from towline.routing.table import Conflict, Participant, Table
from towline.wire.target import Port, Target

log = logging.getLogger(__name__)

# How often it is looked whether all is as the table says, and who is not there any more.
LOOK_SECONDS = 10.0
RETRY_SECONDS = 1.0
LEAVE_SECONDS = 5.0
CLAIM_SECONDS = 10.0
_TRIES = 3


class Seat:
    """A part as `me` has it, in the mesh that a participation writes of.

    `locals` are what answers here for which port of the pods; `taken` the numbers of ports that no
    slot may have. Who has been away for `grace_seconds` may be dropped. With `force`, so may
    whoever has rules that overlap. Hand :meth:`arrived` to the link as its `on_transport`.
    """

    def __init__(
        self,
        me: Participant,
        locals_: Mapping[Port, Target],
        taken: Collection[int],
        grace_seconds: float,
        *,
        force: bool,
    ) -> None:
        self.me = me
        self._locals = locals_
        self._taken = taken
        self._grace_seconds = grace_seconds
        self._force = force
        self._peers: set[Peer] = set()
        self._news = asyncio.Event()
        self._failed: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()

    def attach(self, participation: Participation, link: Link, delivery: Delivery) -> None:
        """Say by what it is kept."""
        self._participation = participation
        self._link = link
        self._delivery = delivery

    @property
    def table(self) -> Table:
        """The newest table that is known."""
        return self._participation.table

    def arrived(self, peer: Peer) -> None:
        """A transport has come up: before it claims anything, the part must still be ours."""
        self._peers.add(peer)
        self._news.set()

    def saw(self, service: Object) -> None:
        """The service has changed: note its table, and look soon whether we are still in it."""
        self._participation.saw(service)
        mine = self.table.participant(self.me.id)
        if mine is None or mine.leaving:
            self._news.set()

    async def first(self, nobody: Table) -> Table:
        """Be the first, in a mesh that nobody knows of yet; gives the table to be written."""
        table = self._joined(nobody)
        self._take(table)
        await self._claim_all()
        await self._push(table)
        return table

    async def enter(self) -> None:
        """Join those who are there.

        Raises SessionError when rules overlap, UsageError, NotSharedError, AgentError, ApiError.
        """
        table = await self._participation.change(self._joined)
        while not (mine := table.participant(self.me.id)):
            conflicts = table.conflicts(self.me)
            in_force = await self._tried(lambda: ask(self._link))
            stale = [each.other for each in conflicts if self._may_drop(each.other, in_force)]
            if refused := [each for each in conflicts if each.other not in stale]:
                raise _refusal(self.me, refused[0])
            await self._drop([each.id for each in stale])
            table = await self._participation.change(self._joined)
        assert mine
        self._take(table)
        await self._claim_all()
        await self._push(table)

    async def keep(self) -> None:
        """See to it until cancelled, or until :meth:`failed`."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(LOOK_SECONDS, self._grace_seconds)):
                    await self._news.wait()
            self._news.clear()
            try:
                if self._link.up:
                    await self._renew()
            except NotSharedError:
                continue  # whoever watches the service knows why
            except SessionError as error:
                self._failed.set_exception(error)
                return
            except (*FAILURES, TowlineError) as error:
                log.info(
                    "the part in the mesh is not kept, next try soon: %s", error or repr(error)
                )
                await asyncio.sleep(RETRY_SECONDS)
                self._news.set()

    async def failed(self) -> NoReturn:
        """Wait until it cannot be kept any more. Raises SessionError."""
        await asyncio.shield(self._failed)
        raise AssertionError

    async def leave(self) -> None:
        """Give it up; whoever is the last puts the service back.

        What is under way has a moment to end. Raises SessionError when it cannot be done: others
        will do it.
        """
        try:
            table = await self._participation.leave(self.me.id)
        except BaseException:
            # A goodbye would end the agent, with nobody in its place.
            self._link.abandon()
            raise
        if table is not None:
            # The others need the agent.
            self._link.abandon()
            # What is left undone others do, when we have been away for the grace time.
            with suppress(*FAILURES, TowlineError):
                await asyncio.wait_for(self._withdraw(table), LEAVE_SECONDS)
            await self._participation.close()
        await self._delivery.finish()

    async def _withdraw(self, table: Table) -> None:
        """When no requests come any more, the way for them is taken away."""
        await push(self._link, table)
        self._delivery.end_claims()
        await push(
            self._link, await self._participation.change(partial(_without, ids=(self.me.id,)))
        )

    async def _renew(self) -> None:
        """Make all be as the table says, for us and for others who are not there any more."""
        table = await self._participation.look()
        mine = table.participant(self.me.id)
        if mine is None or mine.leaving:
            log.info("others have dropped us: joining anew")
            self.me = replace(self.me, id=new_id())
            await self.enter()
            return
        if mine != self.me:  # our write was not answered, but made
            self._take(table)
        self._claim()
        in_force = await push(self._link, table)
        if stale := [each.id for each in table.participants if self._is_stale(each, in_force)]:
            await self._drop(stale)

    def _joined(self, table: Table) -> Table:
        """A table with us; the same if rules overlap. Raises UsageError for what cannot be told."""
        if table.conflicts(self.me):
            return table
        joined = table.joining(self.me, self._taken)
        try:
            envoy.files(joined)
        except ValueError as error:
            raise UsageError(f"The router cannot tell such requests apart: {error}.") from None
        return joined

    def _take(self, table: Table) -> None:
        mine = table.participant(self.me.id)
        assert mine
        self.me = mine
        self._delivery.move(
            {Port(slot): self._locals[port] for port, slot in self.me.slots.items()}
        )

    async def _claim_all(self) -> None:
        """Claim what is ours, and wait until it is. Raises what passes of FAILURES."""
        self._claim()
        async with asyncio.timeout(CLAIM_SECONDS):
            await self._delivery.claimed()

    def _claim(self) -> None:
        """Claim what is ours by all transports, also what others have ended meanwhile."""
        self._peers = {each for each in self._peers if not each.lost}
        for peer in self._peers:
            self._delivery.claim(peer)

    def _may_drop(self, who: Participant, in_force: InForce) -> bool:
        return self._force or in_force.absent_seconds(who) >= self._grace_seconds

    def _is_stale(self, who: Participant, in_force: InForce) -> bool:
        """Whether to drop somebody now. All look: who comes first in the table is to be first."""
        if in_force.absent_seconds(self.me):
            return False  # it is not only they: the agent has ended all claims
        present = [each.id for each in self.table.present()]
        turn = LOOK_SECONDS if present[:1] != [self.me.id] and present[:1] != [who.id] else 0.0
        absent = in_force.absent_seconds(who)
        return who.id != self.me.id and absent >= self._grace_seconds + turn

    async def _drop(self, ids: Collection[str]) -> None:
        """End others' parts, so that no request finds their way gone."""
        log.info("dropping %s, who are not there any more", ", ".join(ids))
        for change in (_leaving, _without):
            await self._push(await self._participation.change(partial(change, ids=ids)))

    async def _push(self, table: Table) -> InForce:
        return await self._tried(lambda: push(self._link, table))

    async def _tried(self, step: Callable[[], Awaitable[InForce]]) -> InForce:
        """What a step comes to, which is tried again when the link was lost meanwhile."""
        for tries_left in reversed(range(_TRIES)):
            try:
                return await step()
            except FAILURES:
                if not tries_left:
                    raise
                await self._link.ready(RETRY_SECONDS * 10)
        raise AssertionError


def _leaving(table: Table, ids: Collection[str]) -> Table:
    """A table in which those are leaving; the same if they are."""
    present = [each.id for each in table.present() if each.id in ids]
    return table.leaving(*present) if present else table


def _without(table: Table, ids: Collection[str]) -> Table:
    """A table without those; the same if they are not in it."""
    there = [each.id for each in table.participants if each.id in ids]
    return table.without(*there) if there else table


def new_id() -> str:
    """A name for a part that no other has."""
    return secrets.token_hex(4)


def _refusal(me: Participant, conflict: Conflict) -> SessionError:
    other = conflict.other
    return SessionError(
        f"{conflict.wanted}, which {me.owner} wants, may be requests of {other.owner} as well, who "
        f"has {conflict.theirs} since {other.since}.",
        "Choose other rules with --match, or say whose win with --priority: theirs have "
        f"{other.priority}.",
    )
