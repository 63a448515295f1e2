"""Carries the connections that the redirect hands over to where they want to go, by the link."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from towline.errors import RedirectError
from towline.features.uplink.dialled import Dialled
from towline.features.uplink.named import Named
from towline.link.link import Link
from towline.redirect.control import Redirect
from towline.redirect.errors import DialError
from towline.redirect.errors import Reason as DialReason
from towline.redirect.listener import reset
from towline.redirect.packets import IPAddress
from towline.relay.peer import LinkLost
from towline.relay.splice import SMALL_BYTES, Splice
from towline.relay.stream import Stream
from towline.wire.frames import Kind, Reason
from towline.wire.target import Target

# A connection waits so long for a link that is coming back before it is reset.
PATIENCE_SECONDS = 10.0

# What the destination, or the way to it, says.
_ANSWERS = {
    Reason.REFUSED: DialReason.REFUSED,
    Reason.HOST_UNREACHABLE: DialReason.HOST_UNREACHABLE,
    Reason.NET_UNREACHABLE: DialReason.NET_UNREACHABLE,
    Reason.TIMED_OUT: DialReason.TIMED_OUT,
    Reason.PROHIBITED: DialReason.HOST_UNREACHABLE,
    Reason.EXHAUSTED: DialReason.HOST_UNREACHABLE,
}
# The agent is gone or going: a SYN that is sent again may find the next one.
_LOST = (Reason.LINK_LOST, Reason.GOING_AWAY, Reason.CANCELLED)


def dial_reason(reason: Reason) -> DialReason:
    """What connect() is to say when a dial came to `reason`.

    Where the agent itself was at a loss, for want of descriptors for instance, there is no way
    through it: to say nothing would look like a destination that is silent.
    """
    if reason in _LOST:
        return DialReason.LINK_LOST
    return _ANSWERS.get(reason, DialReason.HOST_UNREACHABLE)


class Assumed(Splice):
    """A stream to a destination that is taken to accept.

    When that says no after all, `refused` is awaited, as a task of `group`, before the program
    is told: its next connection must meet the truth.
    """

    def __init__(
        self,
        stream: Stream,
        group: asyncio.TaskGroup,
        refused: Callable[[], Awaitable[None]],
        on_closed: Callable[[Reason | None], None],
    ) -> None:
        super().__init__(stream, on_closed=on_closed)
        self._group = group
        self._refused = refused

    def reset(self, reason: Reason) -> None:
        """The stream has ended, or is to end."""
        if reason in _ANSWERS:
            self._group.create_task(self._refuse(reason), name="forget")
        else:
            super().reset(reason)

    async def _refuse(self, reason: Reason) -> None:
        await self._refused()
        super().reset(reason)


class Dialer:
    """Dials through a link, and joins local connections to what was dialled.

    Its tasks run in `group`. `named` is told which addresses have connections.
    """

    def __init__(
        self, link: Link, redirect: Redirect, named: Named, group: asyncio.TaskGroup
    ) -> None:
        self._link = link
        self._redirect = redirect
        self._named = named
        self._group = group
        self._loop = asyncio.get_running_loop()

    async def dial(self, address: IPAddress, port: int) -> Dialled:
        """Reach a destination; raises DialError with what it, or the way to it, answered.

        One that has accepted and then reset at once was reached: what it gives is reset, too.
        """
        splice = Dialled(self._open(address, port), lambda: self._named.closed(address))
        reason = await splice.answer()
        if reason is None or reason is Reason.RESET:
            return splice
        raise DialError(dial_reason(reason))

    def accept(
        self,
        connection: socket.socket,
        address: IPAddress,
        port: int,
        connected: Dialled | None,
    ) -> None:
        """Join a local connection to its stream: the dialled one, or one that is opened now.

        The latter sends its data in the same flight. When the destination has changed its
        mind, the connection is reset, and the next one is told the truth by a dial of its own.
        """
        joining = self._join(connection, address, port, connected)
        self._group.create_task(joining, name=f"join {address} {port}")

    async def _join(
        self,
        connection: socket.socket,
        address: IPAddress,
        port: int,
        connected: Dialled | None,
    ) -> None:
        try:
            splice = connected or await self._open_known(connection, address, port)
        except DialError:
            reset(connection)
            return
        try:
            await self._loop.connect_accepted_socket(lambda: splice, connection)
        except OSError:
            # The program has gone already.
            splice.reset(Reason.RESET)
            connection.close()

    async def _open_known(self, connection: socket.socket, address: IPAddress, port: int) -> Splice:
        """A stream to a destination that is known to accept, as soon as the link is there.

        What the program has said by then leaves together with the opening.
        """
        if not self._link.up:
            await self._wait_for_link()
        stream = self._open(address, port, _said(connection))
        return Assumed(
            stream,
            self._group,
            refused=lambda: self._forget(address, port),
            on_closed=lambda _: self._named.closed(address),
        )

    async def _wait_for_link(self) -> None:
        try:
            await self._link.ready(PATIENCE_SECONDS)
        except LinkLost:
            raise DialError(DialReason.LINK_LOST) from None

    async def _forget(self, address: IPAddress, port: int) -> None:
        try:
            await self._redirect.forget(address, port)
        except RedirectError:
            # Its time has run out, or the helper is gone, which the session learns elsewhere.
            return

    def _open(self, address: IPAddress, port: int, data: bytes = b"") -> Stream:
        """A stream for a splice, which is to tell when it is closed."""
        try:
            stream = self._link.open(Kind.TCP, Target(str(address), port).encode(), data=data)
        except LinkLost:
            raise DialError(DialReason.LINK_LOST) from None
        self._named.opened(address)
        return stream


def _said(connection: socket.socket) -> bytes:
    """What has come on a connection already; an end or an error will be seen again."""
    with suppress(OSError):
        return connection.recv(SMALL_BYTES)
    return b""
