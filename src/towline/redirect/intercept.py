"""Everything that programs send to the device's ranges, taken over by the session.

TCP that the cluster accepts becomes a socket with a stream to match; other packets are whoever's
who takes them, or answered at once, so that no program waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Generic

from towline.errors import RedirectError
from towline.redirect import packets
from towline.redirect.handshakes import Accept, Dial, Handshakes, S, spawn
from towline.redirect.listener import Listener
from towline.redirect.packets import Packet, Unreachable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Coroutine

    from towline.redirect.control import Redirect

Take = Callable[[Packet], bool]


class Intercept(Generic[S]):
    """The session's receiver of a :class:`Redirect`'s traffic. Use :meth:`open`."""

    def __init__(
        self,
        redirect: Redirect,
        group: asyncio.TaskGroup,
        handshakes: Handshakes[S],
        take: Take,
    ) -> None:
        self._redirect = redirect
        self._group = group
        self._handshakes = handshakes
        self._take = take

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        redirect: Redirect,
        group: asyncio.TaskGroup,
        dial: Dial[S],
        accept: Accept[S],
        take: Take,
    ) -> AsyncIterator[Intercept[S]]:
        """Take over what comes to the device, until the end of the `async with`.

        `dial(address, port)` reaches a destination through the link, or raises
        :class:`~towline.redirect.errors.DialError`; each call runs as a task of `group`.
        `accept(connection, address, port, stream)` is called for every connection: with the
        stream that its dial gave, or None when the destination was known to accept. In that
        case a dial that fails is to be told by resetting the connection (`listener.reset`) and
        by :meth:`Redirect.forget`. `connection` is non-blocking and the callee's to close.
        `take(packet)` is called for every packet that is not TCP, and says whether it takes it.
        """
        handshakes = Handshakes(redirect, group, dial, accept)
        listener = Listener(handshakes.arrived, ipv6=redirect.ipv6)
        try:
            await redirect.redirect_tcp(listener.port)
            self = cls(redirect, group, handshakes, take)
            redirect.tun.receive(self._received)
            yield self
        finally:
            redirect.tun.receive(None)
            listener.close()
            handshakes.close()

    @property
    def pending(self) -> int:
        """How many connections are being made: dials under way, and streams not taken yet."""
        return len(self._handshakes)

    def _received(self, data: bytes) -> None:
        packet = packets.parse(data)
        if packet is None:
            return
        if packet.protocol == packets.TCP:
            self._received_tcp(packet)
        elif self._take(packet):
            return
        elif answer := packets.unreachable_for(packet, Unreachable.PROHIBITED):
            self._redirect.tun.send(answer)

    def _received_tcp(self, packet: Packet) -> None:
        segment = packets.parse_tcp(packet)
        if segment is None:
            return
        if segment.opens:
            self._handshakes.syn(segment)
        elif not segment.flags & packets.RST:
            # Of a connection that was made before this session, or over one that has ended.
            spawn(self._group, _try(self._redirect.refuse(segment, "reset")))


async def _try(asking: Coroutine[Any, Any, None]) -> None:
    """Ask the helper for what may fail: the session learns of its loss from `Redirect.lost`."""
    with suppress(RedirectError):
        await asking
