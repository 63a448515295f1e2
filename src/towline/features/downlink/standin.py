"""Brings an object's traffic here by an agent whose pod stands in for the original ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NoReturn

from towline.cluster.keeper import AgentKeeper
from towline.errors import TowlineError
from towline.features.downlink import ports
from towline.features.downlink.takeover import Prepare, Switch, Takeover, Wanted
from towline.features.first import first
from towline.features.local import proxyprotocol
from towline.features.local.delivery import Delivery, Preface
from towline.features.local.expose import Exposed
from towline.features.local.programs import Programs
from towline.features.state import Narrator, SessionState
from towline.kube.client import Client
from towline.kube.config import Access
from towline.link.link import Link
from towline.wire.target import Port, Target

FOLLOW_SECONDS = 1.0


class StandIn:
    """One object whose traffic comes here (:class:`towline.features.downlink.takeover.Way`).

    `prepare` says what is to be done to the object in the given mode.
    """

    def __init__(
        self, mode: str, prepare: Prepare, access: Access, wanted: Wanted, tell: Narrator
    ) -> None:
        self._mode = mode
        self._prepare = prepare
        self._access = access
        self._wanted = wanted
        self._tell = tell
        self._child = wanted.child
        self._state = SessionState(wanted.command, access, tell, self._doubt, self._pod)
        self._exposed: tuple[Exposed, ...] = ()
        self._keeper: AgentKeeper | None = None
        self._switch: Switch | None = None
        # Set whenever there is news of where the ports are ours.
        self._claimed = asyncio.Event()

    def status(self) -> dict[str, Any]:
        """How it is doing, fit for JSON."""
        return {
            **self._state.status(),
            "target": str(self._wanted.target),
            "mode": self._mode,
            "exposed": [each.status() for each in self._exposed],
        }

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Bring it up and take it down."""
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(self._access))
            self._tell.progress(f"Looking at {self._wanted.target}")
            takeover = await self._prepare(client, self._access.namespace, self._wanted)
            chosen = ports.choose(takeover.ports, self._wanted.exposed)
            self._exposed = ports.exposed(chosen)
            programs = await self._wanted.programs(self._exposed, self._tell, takeover.otherwise)
            for note in takeover.notes:
                self._tell.event("note", note)
            await stack.enter_async_context(self._child)
            keeper = self._keeper = await stack.enter_async_context(
                self._wanted.keeper(client, takeover.spec, self._state)
            )
            await self._child.outlive(keeper.start())
            group = await stack.enter_async_context(asyncio.TaskGroup())
            delivery = Delivery(
                ports.by_listen(chosen),
                group,
                copy=self._wanted.copy,
                preface=self._preface(chosen, takeover),
                on_unserved=lambda listen: programs.refused(*ports.known_as(chosen, listen)),
                on_claimed=self._claimed.set,
            )
            link = await stack.enter_async_context(self._new_link(keeper, delivery))
            await self._child.outlive(self._prove(link, delivery))
            await self._child.outlive(first(self._await_child(programs, link), self._job_gone()))
            await self._take(stack, takeover.switch, link, delivery)
            for work in (programs.watch(), self._follow(takeover.switch)):
                stack.callback(group.create_task(work).cancel)
            with self._state.lasting():
                yield

    async def ended(self) -> int:
        """Wait until it is over (:meth:`towline.features.downlink.takeover.Way.ended`)."""
        return await self._wanted.over(self._tell, self._disturbed(), self._job_gone())

    async def _disturbed(self) -> NoReturn:
        assert self._switch
        raise await self._switch.disturbed()

    async def _job_gone(self) -> NoReturn:
        assert self._keeper
        await self._wanted.agent_gone(self._keeper)

    def _preface(self, chosen: Iterable[ports.ServicePort], takeover: Takeover) -> Preface | None:
        """What programs here are told of their clients; the agent's pod may come to be another."""
        if not self._wanted.proxy_protocol:
            return None

        def servers(listen: Port) -> Iterator[Target]:
            assert self._keeper
            number = next(each.port.number for each in chosen if each.listen == listen)
            yield from (Target(address, number) for address in takeover.addresses)
            yield from (Target(address, listen.number) for address in self._keeper.addresses)

        return proxyprotocol.prefaces(servers)

    def _new_link(self, keeper: AgentKeeper, delivery: Delivery) -> Link:
        return Link(
            keeper.connect, self._state, on_transport=delivery.claim, on_opened=delivery.opened
        )

    async def _prove(self, link: Link, delivery: Delivery) -> None:
        """Wait until what comes to the agent would arrive here."""
        self._tell.progress("Waiting for the agent to answer")
        await link.first(self._wanted.timeout_seconds)
        await delivery.claimed()
        assert self._keeper
        await self._keeper.ready()
        # A Job with a deadline would end, whoever relies on it.
        await self._keeper.settle()

    async def _await_child(self, programs: Programs, link: Link) -> None:
        """Wait until the program that was run listens, however long it takes."""
        if self._child:
            await programs.await_all(f"'{self._child}'")
            await link.ready()

    async def _take(
        self, stack: AsyncExitStack, switch: Switch, link: Link, delivery: Delivery
    ) -> None:
        """Lead the object's traffic to the agent, and back at the end."""
        assert self._keeper
        self._switch = switch
        stack.push_async_callback(withdraw, switch, link, delivery)
        self._keeper.release()
        await switch.begin(self._keeper.pod)

    async def _follow(self, switch: Switch) -> None:
        """Let the agent's new pod get the traffic when one has replaced another."""
        assert self._keeper
        while True:
            await self._claimed.wait()
            self._claimed.clear()
            try:
                await switch.follow(self._keeper.pod)
            except TowlineError:
                await asyncio.sleep(FOLLOW_SECONDS)
                self._claimed.set()

    def _pod(self) -> str:
        return self._keeper.pod if self._keeper else ""

    def _doubt(self) -> None:
        if self._keeper:
            self._keeper.doubt()


async def withdraw(switch: Switch, link: Link, delivery: Delivery) -> None:
    """Put the object back, let what is under way end, and leave the rest to the agent."""
    try:
        await switch.end()
    except BaseException:
        # A goodbye would end the agent, with nobody in its place. This may be cancelled, too: by
        # what fails meanwhile.
        link.abandon()
        raise
    await delivery.finish()
