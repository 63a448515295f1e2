"""Brings local connections and datagrams to where they go, by the link."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

from towline.features.uplink.forward.ports import Chosen
from towline.features.uplink.forward.troubles import Troubles
from towline.features.uplink.listening import join
from towline.features.uplink.reach import PATIENCE_SECONDS, why
from towline.link.association import Association
from towline.link.link import Link
from towline.relay import sockets
from towline.relay.peer import LinkLost
from towline.relay.splice import Splice
from towline.wire.frames import Kind, Reason
from towline.wire.target import Target

Where = Callable[[], str]
"""The host that connections go to now; "" for none."""

NOBODY = "no pod of it is ready"
# A client's datagrams have a port of the agent's for themselves until it has been silent so long.
IDLE_SECONDS = 120.0
MOST_CLIENTS = 4096


class ByLink:
    """Carries what comes to local ports to the host that `where` gives, from the agent's pod."""

    def __init__(self, link: Link, where: Where, troubles: Troubles) -> None:
        self._link = link
        self._where = where
        self._troubles = troubles

    async def carry(self, transport: asyncio.Transport, port: Chosen) -> None:
        """Join a connection to one from the pod, or reset it and say why there is none."""
        host = self._where()
        if not host:
            self._refuse(transport, port, NOBODY)
            return
        try:
            await self._link.ready(PATIENCE_SECONDS)
            stream = self._link.open(Kind.TCP, Target(host, port.remote.number).encode())
        except LinkLost:
            self._refuse(transport, port, why(Reason.LINK_LOST))
            return

        def closed(reason: Reason | None) -> None:
            if text := why(reason):
                self._troubles.failed(port, text)

        splice = Splice(stream, on_accepted=lambda: self._troubles.worked(port), on_closed=closed)
        join(transport, splice)

    async def serve_datagrams(self, listening: socket.socket, port: Chosen) -> None:
        """Carry the datagrams of all clients of a socket, until cancelled."""
        loop = asyncio.get_running_loop()
        transport, clients = await loop.create_datagram_endpoint(
            lambda: Clients(self._link, self._where, port, self._troubles), sock=listening
        )
        try:
            while True:
                await asyncio.sleep(IDLE_SECONDS / 4)
                clients.end_idle()
        finally:
            clients.close()
            transport.close()

    def _refuse(self, transport: asyncio.Transport, port: Chosen, text: str) -> None:
        self._troubles.failed(port, text)
        sockets.abort_with_reset(transport)


class _Client:
    """What one address and port here says, and is answered."""

    def __init__(self, association: Association) -> None:
        self.association = association
        self.since = 0.0
        """When it last said something, as the loop's time."""


class Clients(asyncio.DatagramProtocol):
    """Clients of one local port, each with a port of its own in the agent's pod."""

    def __init__(self, link: Link, where: Where, port: Chosen, troubles: Troubles) -> None:
        self._link = link
        self._where = where
        self._port = port
        self._troubles = troubles
        # The one that has been silent for longest is first.
        self._clients: dict[Any, _Client] = {}
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready to answer."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Pass it on, or lose it."""
        host = self._where()
        if not host:
            self._troubles.failed(self._port, NOBODY)
            return
        client = self._clients.pop(addr, None) or self._new(addr)
        self._clients[addr] = client
        client.since = self._loop.time()
        client.association.send(data, host, self._port.remote.number)

    def error_received(self, exc: Exception) -> None:
        """A client that is gone does not matter."""

    def end_idle(self) -> None:
        """Let go of those that have long been silent."""
        now = self._loop.time()
        for addr, client in list(self._clients.items()):
            if now - client.since >= IDLE_SECONDS:
                self._drop(addr)

    def close(self) -> None:
        """Let go of all."""
        for addr in list(self._clients):
            self._drop(addr)

    def _new(self, addr: Any) -> _Client:
        if len(self._clients) >= MOST_CLIENTS:
            self._drop(next(iter(self._clients)))

        def heard(data: bytes, _host: str, _port: int) -> None:
            self._troubles.worked(self._port)
            self._transport.sendto(data, addr)

        def lost(reason: Reason, *_: object) -> None:
            self._troubles.failed(self._port, why(reason))

        return _Client(Association(self._link, heard, lost))

    def _drop(self, addr: Any) -> None:
        self._clients.pop(addr).association.close()
