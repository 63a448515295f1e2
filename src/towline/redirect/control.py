"""The session's grip on this machine's network: one device, and what is led to it.

Everything belongs to two processes, the helper and the session. When either ends, in whatever
way, the other lets go as well, and with the last the kernel removes it all.
"""

from __future__ import annotations

import os
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from towline.redirect import messages
from towline.redirect.channel import Channel
from towline.redirect.launch import start_helper
from towline.redirect.tun import Tun

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Iterable, Sequence

    from towline.redirect.messages import Answer, IPNetwork
    from towline.redirect.packets import IPAddress, Segment


class Redirect:
    """A device of this session's own. Use :meth:`open` or :meth:`adopt`, in `async with`.

    `device` is its name, `ipv6` whether this machine has IPv6 (if not, ranges of that family
    are left out without a word), `tun` its packets, `lost` an event that is set when the helper
    is gone: then nothing can be changed any more, and this is to be left. Methods raise
    RedirectError for what the kernel refuses, and when the helper is gone.
    """

    def __init__(self, channel: Channel, device: str, ipv6: bool, tun: Tun) -> None:
        self.device = device
        self.ipv6 = ipv6
        self.tun = tun
        self.lost: asyncio.Event = channel.lost
        self._channel = channel

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Redirect]:
        """Start a helper (which may ask for a password) and make the device.

        Raises AccessError when root is not to be had, RedirectError when the kernel refuses.
        """
        async with cls.adopt(await start_helper()) as redirect:
            yield redirect

    @classmethod
    @asynccontextmanager
    async def adopt(cls, helper: socket.socket) -> AsyncIterator[Redirect]:
        """Make the device through a helper that :func:`start_helper` has started.

        Takes the socket over. The process that started the helper must close its own copy: the
        helper lives as long as any.
        """
        async with AsyncExitStack() as stack:
            channel = Channel(helper)
            stack.push_async_callback(channel.close)
            reply = await channel.ask(messages.Open())
            tun = Tun(reply.descriptor)
            stack.callback(tun.close)
            # Until this process has closed the connections of programs, these must hear of it:
            # without the table nobody would translate that for them, whatever ended the helper.
            table = await channel.ask(messages.ShareTable())
            stack.callback(os.close, table.descriptor)
            yield cls(channel, str(reply.fields["device"]), bool(reply.fields["ipv6"]), tun)

    async def add_routes(self, ranges: Iterable[IPNetwork]) -> dict[IPNetwork, str]:
        """Lead ranges to the device; those that are led there already stay.

        Gives why the kernel leads some of them not, whatever becomes of the others.
        """
        refused: dict[IPNetwork, str] = {}
        for part in _batches(ranges):
            reply = await self._channel.ask(messages.AddRoutes(part))
            refused |= messages.refused_ranges(reply.fields)
        return refused

    async def remove_routes(self, ranges: Iterable[IPNetwork]) -> None:
        """Undo :meth:`add_routes`; ranges that are not led there are passed over."""
        for part in _batches(ranges):
            await self._channel.ask(messages.RemoveRoutes(part))

    async def redirect_tcp(self, port: int) -> None:
        """Redirect connections to open destinations to `port` of 127.0.0.1 and ::1."""
        await self._channel.ask(messages.RedirectTcp(port))

    async def admit(self, syn: Segment) -> None:
        """Open the SYN's destination for about a minute, and let this SYN reach the listener."""
        await self._channel.ask(messages.Admit(syn))

    async def refuse(self, segment: Segment, answer: Answer) -> None:
        """Answer a TCP segment as a closed port, or the last router before it, would."""
        await self._channel.ask(messages.Refuse(segment, answer))

    async def forget(self, address: IPAddress, port: int) -> None:
        """Close a destination again: the next connection to it waits for its own dial."""
        await self._channel.ask(messages.Forget(address, port))

    async def capture_dns(self, nameservers: Sequence[IPAddress], port: int) -> None:
        """Redirect port 53 (UDP and TCP) of these nameservers to `port` of 127.0.0.1 and ::1.

        Replaces what was captured before; no nameservers: nothing is captured any more.
        """
        await self._channel.ask(messages.CaptureDns(tuple(nameservers), port))

    async def set_link_dns(self, domains: Sequence[str], port: int) -> None:
        """Have systemd-resolved ask `port` of 127.0.0.1 for names in `domains` (see resolvectl(1)).

        It forgets that, and all answers, with the device; or before, when there are no domains.
        """
        await self._channel.ask(messages.SetLinkDns(tuple(domains), port))

    async def upstream_socket(
        self, family: socket.AddressFamily, kind: socket.SocketKind
    ) -> socket.socket:
        """Make a socket (AF_INET or AF_INET6; SOCK_DGRAM or SOCK_STREAM) that escapes the capture.

        What it sends to port 53 goes on to the next older session, or the nameserver itself.
        Non-blocking and unbound.
        """
        version = 4 if family == socket.AF_INET else 6
        transport: messages.Transport = "udp" if kind == socket.SOCK_DGRAM else "tcp"
        reply = await self._channel.ask(messages.UpstreamSocket(version, transport))
        made = socket.socket(fileno=reply.descriptor)
        made.setblocking(False)
        return made


def _batches(ranges: Iterable[IPNetwork]) -> Iterable[tuple[IPNetwork, ...]]:
    everything = tuple(ranges)
    for start in range(0, len(everything), messages.MAX_RANGES):
        yield everything[start : start + messages.MAX_RANGES]
