"""Some of the requests for a service come here; others' go to others, and the rest where they did.

All who take part share one agent, and a router beside it. Whoever is the first makes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, NoReturn

from towline.cluster import interception, restorer
from towline.cluster.interception import Interception
from towline.cluster.job import AgentSpec, now
from towline.cluster.keeper import AgentKeeper
from towline.cluster.router import RouterSpec
from towline.errors import SessionError, TowlineError, UsageError
from towline.features.downlink import meshagent, ports, selector
from towline.features.downlink.meshagent import Place
from towline.features.downlink.meshports import MeshPort
from towline.features.downlink.participation import Meshed, Participation, meshed, with_table
from towline.features.downlink.seat import Seat, new_id
from towline.features.downlink.takeover import Sharing, Wanted
from towline.features.first import first
from towline.features.local.delivery import Delivery
from towline.features.local.expose import Exposed
from towline.features.local.programs import Programs
from towline.features.rights import agent_rights, object_rights, require
from towline.features.state import Narrator, SessionState
from towline.kube.access import Right
from towline.kube.client import Client
from towline.kube.config import Access
from towline.kube.errors import Forbidden, NotFound
from towline.kube.resources import SECRETS, SERVICES
from towline.link.link import Link
from towline.routing.protocols import Speaks
from towline.routing.rules import curl
from towline.routing.table import Participant
from towline.wire.target import Port

# Whoever is overtaken so often is not in a race.
_TRIES = 5


class Mesh:
    """One's part in the mesh of a service (:class:`towline.features.downlink.takeover.Way`)."""

    def __init__(self, access: Access, wanted: Wanted, sharing: Sharing, tell: Narrator) -> None:
        if wanted.target.resource != SERVICES:
            raise UsageError(
                f"{wanted.target} is no service: people share what leads to one.",
                "Name the service that leads to it.",
            )
        self._access = access
        self._wanted = wanted
        self._sharing = sharing
        self._tell = tell
        self._child = wanted.child
        self._state = SessionState(wanted.command, access, tell, self._doubt, self._pod)
        self._exposed: tuple[Exposed, ...] = ()
        self._place: Place | None = None
        self._keeper: AgentKeeper | None = None
        self._seat: Seat | None = None
        self._interception: Interception | None = None

    def status(self) -> dict[str, Any]:
        """How it is doing, fit for JSON."""
        others = self._seat.table.present() if self._seat else ()
        served = self._place.ports if self._place else ()
        return {
            **self._state.status(),
            "target": str(self._wanted.target),
            "mode": "mesh",
            "match": [str(each) for each in self._sharing.match],
            "priority": self._sharing.priority,
            "curl": curl(self._sharing.match, self._url()),
            "exposed": [each.status() for each in self._exposed],
            "ports": [
                {**each.status(), "exposed": each.service in self.place.chosen} for each in served
            ],
            "spoken": [str(each) for each in served if each.service in self.place.chosen],
            "untouched": [str(each.service.port) for each in served if not self._routes(each)],
            "participants": len(others),
        }

    def _routes(self, port: MeshPort) -> bool:
        """Whether the mesh tells the requests of a port apart."""
        table = self._seat.table if self._seat else None
        return any(
            each.port == port.service.listen.number for each in (table.ports if table else ())
        )

    def _url(self) -> str:
        """Where a client in the cluster reaches a port of which requests are wanted here."""
        host = f"{self._wanted.target.name}.{self._access.namespace}"
        if self._place is None:
            return f"http://{host}"
        wanted = [each for each in self._place.ports if each.service in self._place.chosen]
        port = min(wanted, key=lambda each: each.told.speaks is Speaks.LOOK)
        scheme, usual = ("https", 443) if port.told.speaks is Speaks.TLS else ("http", 80)
        number = port.service.port.number
        return f"{scheme}://{host}" if number == usual else f"{scheme}://{host}:{number}"

    @property
    def place(self) -> Place:
        """The service as it was found."""
        assert self._place
        return self._place

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Bring it up and take it down."""
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(self._access))
            self._tell.progress(f"Looking at {self._wanted.target}")
            await require(client, self._access.namespace, self._rights_to_join())
            await self._look(client)
            programs = await self._wanted.programs(
                self._exposed, self._tell, self._wanted.otherwise
            )
            await stack.enter_async_context(self._child)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            seat = await self._child.outlive(self._sit(stack, client, group, programs))
            for work in (programs.watch(), seat.keep()):
                stack.callback(group.create_task(work).cancel)
            with self._state.lasting():
                yield

    async def ended(self) -> int:
        """Wait until it is over (:meth:`towline.features.downlink.takeover.Way.ended`)."""
        assert self._seat
        return await self._wanted.over(
            self._tell, self._disturbed(), self._job_gone(), self._seat.failed()
        )

    async def _look(self, client: Client) -> Place:
        tls = bool(self._sharing.tls_secret)
        place = await meshagent.look(client, self._access.namespace, self._wanted, tls=tls)
        self._place = place
        self._exposed = ports.exposed(dict(place.chosen))
        return place

    async def _sit(
        self, stack: AsyncExitStack, client: Client, group: asyncio.TaskGroup, programs: Programs
    ) -> Seat:
        """Join the mesh that there is, else begin one."""
        for tries_left in reversed(range(_TRIES)):
            place = await self._look(client)
            there = meshed(place.found)
            async with AsyncExitStack() as attempt:
                try:
                    if there:
                        seat = await self._join(attempt, client, group, programs, there)
                    else:
                        seat = await self._begin(attempt, client, group, programs)
                except TowlineError:
                    if tries_left and await self._is_overtaken(client, there):
                        continue  # in order: what was made for it ends
                    raise
                stack.push_async_exit(attempt.pop_all())
                return seat
        raise AssertionError("the last try returns or raises")

    async def _is_overtaken(self, client: Client, assumed: Meshed | None) -> bool:
        """Whether the service is in another mesh by now, or in none any more."""
        try:
            found = await client.get(
                SERVICES, self._wanted.target.name, namespace=self._access.namespace
            )
            there = meshed(found)
        except TowlineError:
            return False
        return (there and there.record.job) != (assumed and assumed.record.job)

    async def _begin(
        self,
        attempt: AsyncExitStack,
        client: Client,
        group: asyncio.TaskGroup,
        programs: Programs,
    ) -> Seat:
        place, namespace = self.place, self._access.namespace
        holder = interception.holder(place.found)
        if holder is not None and not self._wanted.force:
            raise interception.held_by(str(self._wanted.target), holder)
        await require(client, namespace, self._rights_to_begin())
        await self._require_secret(client)
        name, account = self._wanted.target.name, self._wanted.agent.pod.service_account
        may_undo = await restorer.may_be_made(client, namespace, SERVICES, name, account=account)
        for note in meshagent.notes(place, may_undo=may_undo):
            self._tell.event("note", note)
        made = meshagent.beginning(place, self._wanted.agent, self._sharing, may_undo=may_undo)
        keeper = await self._keep(attempt, client, made.spec)
        await keeper.start()
        port = made.spec.link_port
        participation = Participation(client, namespace, name, made.spec.name, made.table)
        seat, link = await self._seated(attempt, keeper, group, programs, participation, port)
        await keeper.ready()
        await keeper.settle()
        table = await seat.first(made.table)
        await self._await_child(programs, link)
        participation.table = table
        record = with_table(made.record, table, port)
        taking = Interception(client, SERVICES, place.found, record, str(self._wanted.target))
        self._interception = taking
        attempt.push_async_callback(_leave, seat, link, taking)
        keeper.release()
        await taking.begin()
        return seat

    async def _require_secret(self, client: Client) -> None:
        """Raise UsageError if the Secret is surely not there: the pod would wait for it."""
        name = self._sharing.tls_secret
        with suppress(Forbidden):
            try:
                if name:
                    await client.get(SECRETS, name, namespace=self._access.namespace)
            except NotFound:
                raise UsageError(
                    f"There is no Secret {name} in the namespace {self._access.namespace}.",
                    "Name the one with the service's certificate, as tls.crt and tls.key.",
                ) from None

    async def _join(
        self,
        attempt: AsyncExitStack,
        client: Client,
        group: asyncio.TaskGroup,
        programs: Programs,
        there: Meshed,
    ) -> Seat:
        target = self._wanted.target
        self._refuse_if_not_routed(there)
        router = RouterSpec(self._sharing.router_image, (), {}, ())
        spec = replace(
            self._wanted.agent,
            name=there.record.job,
            router=router,
            fixed_link_port=there.link_port,
        )
        keeper = await self._keep(attempt, client, spec)
        try:
            await keeper.join()
        except NotFound:
            raise SessionError(
                f"{target} is in a mesh whose agent is gone.",
                f"Put it right with 'tow recover {target}'.",
            ) from None
        where = (client, self._access.namespace, target.name, there.record.job)
        participation = Participation(*where, there.table)
        seat, link = await self._seated(
            attempt, keeper, group, programs, participation, there.link_port
        )
        await self._await_child(programs, link)
        taking = Interception(client, SERVICES, self.place.found, there.record, str(target))
        self._interception = taking
        attempt.push_async_callback(_leave, seat, link, taking)
        await seat.enter()
        return seat

    async def _keep(self, attempt: AsyncExitStack, client: Client, spec: AgentSpec) -> AgentKeeper:
        keeper = self._wanted.keeper(client, spec, self._state)
        self._keeper = await attempt.enter_async_context(keeper)
        return keeper

    async def _seated(
        self,
        attempt: AsyncExitStack,
        keeper: AgentKeeper,
        group: asyncio.TaskGroup,
        programs: Programs,
        participation: Participation,
        link_port: int,
    ) -> tuple[Seat, Link]:
        """A seat, with a link to the agent; nothing is claimed or written yet."""
        place = self.place
        taken = place.taken | {link_port}
        grace = self._wanted.agent.grace_seconds
        seat = Seat(self._me(), place.locals, taken, grace, force=self._wanted.force)

        def unserved(slot: Port) -> None:
            listen = next(p for p, number in seat.me.slots.items() if number == slot.number)
            programs.refused(*ports.known_as(place.chosen, listen))

        delivery = Delivery({}, group, on_unserved=unserved)
        connect = keeper.connect
        made = Link(connect, self._state, on_transport=seat.arrived, on_opened=delivery.opened)
        link = await attempt.enter_async_context(made)
        seat.attach(participation, link, delivery)
        self._tell.progress("Waiting for the agent to answer")
        await link.first(self._wanted.timeout_seconds)
        self._seat = seat
        return seat, link

    def _me(self) -> Participant:
        """Our part as it is wanted; its slots are still to be chosen."""
        return Participant(
            new_id(),
            self._wanted.agent.owner,
            now(),
            self._sharing.match,
            dict.fromkeys(self.place.locals, 0),
            self._wanted.copy,
            self._sharing.priority,
        )

    async def _await_child(self, programs: Programs, link: Link) -> None:
        """Wait until the program that was run listens, however long it takes."""
        if self._child:
            await first(programs.await_all(f"'{self._child}'"), self._job_gone())
            await link.ready()

    def _refuse_if_not_routed(self, there: Meshed) -> None:
        routed = {Port(each.port) for each in there.table.ports}
        for each in self.place.chosen:
            if each.listen not in routed:
                raise SessionError(
                    f"The mesh that {there.record.owner} has begun does not look into the requests "
                    f"of port {each.port.number}.",
                    "It was begun without --tls-secret, or without that port, which does not say "
                    "what it speaks: leave it out with --expose, or begin anew when all have left.",
                )

    async def _disturbed(self) -> NoReturn:
        assert self._interception
        assert self._seat
        raise await self._interception.disturbed(self._seat.saw)

    async def _job_gone(self) -> NoReturn:
        assert self._keeper
        await self._wanted.agent_gone(self._keeper)

    def _rights_to_join(self) -> list[Right]:
        namespace = self._access.namespace
        return [
            Right("get", "batch", "jobs", namespace=namespace),
            *(Right(verb, "", "pods", namespace=namespace) for verb in ("get", "list", "watch")),
            *object_rights(SERVICES, namespace, self._wanted.target.name),
        ]

    def _rights_to_begin(self) -> list[Right]:
        namespace, name = self._access.namespace, self._wanted.target.name
        return [*agent_rights(namespace), *selector.rights(namespace, name)]

    def _pod(self) -> str:
        return self._keeper.pod if self._keeper else ""

    def _doubt(self) -> None:
        if self._keeper:
            self._keeper.doubt()


async def _leave(seat: Seat, link: Link, taking: Interception) -> None:
    """Give a seat up, when it is known whether there is one."""
    if await taking.begun():
        link.abandon()
        raise SessionError(
            "Whether the mesh has begun is not known: the API server did not answer.",
            "If it has, its agent ends it when the grace time is over.",
        )
    await seat.leave()
