"""A port for the datagrams of one client (RFC 1928 section 7), to the cluster and to the world."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any, cast

from towline.features.uplink.proxy.whose import Unknown, Whose
from towline.link import association as links
from towline.link.link import Link
from towline.proxy.socks5 import Datagram
from towline.wire.frames import Reason
from towline.wire.target import Target

# Hosts of whom it is known whose they are; and what waits for that.
_KNOWN = 1024
_WAITING = 64


class Association(asyncio.DatagramProtocol):
    """Only its client's address may send here; the first port of it that does, alone."""

    def __init__(
        self, link: Link, whose: Whose, group: asyncio.TaskGroup, client: str, port: int
    ) -> None:
        self._whose = whose
        self._group = group
        self._client = client
        self._port = port
        self._known: dict[str, str | None] = {}
        self._waiting: dict[str, list[Datagram]] = {}
        self._there = links.Association(link, self._heard, _lost)
        self._outside: dict[int, asyncio.DatagramTransport] = {}
        self._addresses: dict[str, tuple[int, str]] = {}
        self._transport: asyncio.DatagramTransport
        self._peer: Any = None
        self._closed = False

    @classmethod
    async def open(
        cls,
        link: Link,
        whose: Whose,
        group: asyncio.TaskGroup,
        host: str,
        client: str,
        port: int,
    ) -> Association:
        """One at an address of this machine, for a client and its port, 0 for any of its."""
        loop = asyncio.get_running_loop()
        _, made = await loop.create_datagram_endpoint(
            lambda: cls(link, whose, group, client, port), local_addr=(host, 0)
        )
        return made

    @property
    def address(self) -> Target:
        """Where the client is to send its datagrams."""
        host, port = self._transport.get_extra_info("sockname")[:2]
        return Target(host, port)

    def close(self) -> None:
        """Let go of it; what is under way is lost."""
        self._closed = True
        self._there.close()
        for transport in (self._transport, *self._outside.values()):
            transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready to answer."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Pass on what the client says, or lose it."""
        if addr[0] != self._client or self._port not in (0, addr[1]):
            return
        try:
            datagram = Datagram.decode(data)
        except ValueError:
            return
        self._port, self._peer = addr[1], addr
        host = datagram.target.host
        if host in self._known:
            self._send(self._known[host], datagram)
        elif host in self._waiting:
            if len(self._waiting[host]) < _WAITING:
                self._waiting[host].append(datagram)
        else:
            self._waiting[host] = [datagram]
            self._group.create_task(self._find(host), name=f"whose {host}")

    def error_received(self, exc: Exception) -> None:
        """A client that does not listen does not matter."""

    async def _find(self, host: str) -> None:
        """Find out whose a host is, and pass on what waits for that."""
        known, failed = None, False
        try:
            known = await self._whose.in_cluster(host)
            if known is None:
                await self._open_outside(host)
        except (Unknown, OSError, ValueError):
            failed = True
        waiting = self._waiting.pop(host, [])
        if failed or self._closed:
            return
        if len(self._known) >= _KNOWN:
            del self._known[next(iter(self._known))]
        self._known[host] = known
        for datagram in waiting:
            self._send(known, datagram)

    def _send(self, inside: str | None, datagram: Datagram) -> None:
        host, port = datagram.target.host, datagram.target.port
        with suppress(ValueError):
            if inside is not None:
                self._there.send(datagram.data, inside, port)
            elif (address := self._addresses.get(host)) is not None:
                self._outside[address[0]].sendto(datagram.data, (address[1], port))

    async def _open_outside(self, host: str) -> None:
        """Look a host up here, and have a socket for its family. Raises OSError."""
        loop = asyncio.get_running_loop()
        family, *_, found = (await loop.getaddrinfo(host, None))[0]
        address = str(found[0])
        if family not in self._outside:
            answers = _Answers(self._heard)
            anywhere = ("::" if family == socket.AF_INET6 else "0.0.0.0", 0)  # noqa: S104 (it only answers)
            transport, _ = await loop.create_datagram_endpoint(lambda: answers, anywhere)
            self._outside[family] = transport
        if self._closed:
            self._outside[family].close()
        self._addresses[host] = (family, address)

    def _heard(self, data: bytes, host: str, port: int) -> None:
        if self._peer is not None and not self._closed:
            with suppress(ValueError):
                self._transport.sendto(Datagram(Target(host, port), data).encode(), self._peer)


class _Answers(asyncio.DatagramProtocol):
    """What comes from the world."""

    def __init__(self, heard: Any) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Pass it on."""
        self._heard(data, addr[0].partition("%")[0], addr[1])

    def error_received(self, exc: Exception) -> None:
        """There is no way to tell the client."""


def _lost(reason: Reason, *_: object) -> None:
    """There is no way to tell the client (RFC 1928 section 7)."""
