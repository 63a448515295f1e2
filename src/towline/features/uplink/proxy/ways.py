"""The ways to what a client of the proxy wants: by the link, or from this machine."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from towline.features.uplink import joined
from towline.features.uplink.dialled import Dialled
from towline.features.uplink.joined import Side
from towline.features.uplink.listening import join as join_stream
from towline.features.uplink.proxy.whose import Unknown, Whose
from towline.features.uplink.proxy.wires import DIAL_SECONDS, Far, Near, Refusal, Wire
from towline.features.uplink.reach import PATIENCE_SECONDS
from towline.link.link import Link
from towline.relay.peer import LinkLost
from towline.relay.splice import reason_of
from towline.relay.stream import Stream
from towline.wire.frames import Kind, Reason
from towline.wire.target import Target

P = TypeVar("P", bound=asyncio.Protocol)


class Ways:
    """Finds, of each target, which way leads there. What it does raises Refusal."""

    def __init__(self, link: Link, whose: Whose) -> None:
        self._link = link
        self._whose = whose

    async def wire(self, target: Target) -> Wire:
        """A connection to a target; by the link, whether it is accepted is still to be seen."""
        inside = await self._inside(target)
        return Far(await self._open(inside)) if inside else await self._dial_here(target, Near())

    async def join(
        self, transport: asyncio.Transport, target: Target, answer: bytes, said: bytes
    ) -> None:
        """Make a connection one with one to a target, of which `answer` tells its client first.

        `said` has come on it already; nothing more is read from it before.
        """
        inside = await self._inside(target)
        if inside:
            splice = await self._dial(inside)
            transport.write(answer)
            join_stream(transport, splice, said)
            return
        there = await self._dial_here(target, Side())
        here = Side()
        transport.write(answer)
        transport.set_protocol(here)
        here.connection_made(transport)
        joined.join(here, there, said)

    async def _inside(self, target: Target) -> Target | None:
        """The target as it is called in the agent's pod, if it is the cluster's."""
        try:
            host = await self._whose.in_cluster(target.host)
            return Target(host, target.port) if host else None
        except Unknown:
            raise Refusal(Reason.LINK_LOST) from None

    async def _dial(self, target: Target) -> Dialled:
        splice = Dialled(await self._open(target))
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                reason = await splice.answer()
        except TimeoutError:
            raise Refusal(Reason.TIMED_OUT) from None
        if reason is not None:
            raise Refusal(reason)
        return splice

    async def _open(self, target: Target) -> Stream:
        try:
            await self._link.ready(PATIENCE_SECONDS)
            return self._link.open(Kind.TCP, target.encode())
        except LinkLost:
            raise Refusal(Reason.LINK_LOST) from None

    @staticmethod
    async def _dial_here(target: Target, protocol: P) -> P:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                await loop.create_connection(
                    lambda: protocol, target.host, target.port, happy_eyeballs_delay=0.25
                )
        except (OSError, ValueError) as error:  # also of a name that no resolver takes
            raise Refusal(reason_of(error)) from None
        return protocol
