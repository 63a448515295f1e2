"""Transports to the agent's own address where that can be reached, past the Kubernetes API.

A key is made for the session, and given to the agent over a transport of the API's: with it each
end proves who it is (TLS 1.3), and whoever else answers at that address is refused.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeVar
from weakref import WeakSet

from towline.link import certificate
from towline.link.link import Connect
from towline.relay import identity
from towline.relay.peer import LinkLost, Peer
from towline.relay.request import StreamReset, request
from towline.wire.frames import Kind

P = TypeVar("P", bound=asyncio.Protocol)

log = logging.getLogger(__name__)

OFFER_SECONDS = 10.0
# A longer way than through the API is none worth taking.
CONNECT_SECONDS = 2.0
_MAKER = (sys.executable, "-P", "-m", certificate.__name__)


class NotReachable(Exception):  # noqa: N818
    """The agent's address cannot be reached from here, or nobody listens there."""


class _Identity(NamedTuple):
    pem: bytes
    context: ssl.SSLContext


class _Way(NamedTuple):
    addresses: Sequence[str]
    port: int
    device: str
    identity: _Identity


class Direct:
    """Makes a link's transports: by the agent's address while there is a way, else `by_api`."""

    def __init__(self, by_api: Connect) -> None:
        self._by_api = by_api
        self._identity: _Identity | None = None
        self._way: _Way | None = None
        self._roundabout: WeakSet[Peer] = WeakSet()

    @property
    def is_open(self) -> bool:
        """Whether there is a way, as far as is known."""
        return self._way is not None

    def is_roundabout(self, peer: Peer) -> bool:
        """Whether a transport goes by the API."""
        return peer in self._roundabout

    async def connect(self, protocol_factory: Callable[[], Peer]) -> tuple[asyncio.Transport, Peer]:
        """A new transport, as `by_api` gives it."""
        if self._way is not None:
            try:
                return await _dial(self._way, protocol_factory)
            except NotReachable as error:
                log.info("the agent's own address is out of reach: %s", error)
                self._way = None
        made = await self._by_api(protocol_factory)
        self._roundabout.add(made[1])
        return made

    async def find(self, peer: Peer, addresses: Sequence[str], device: str) -> None:
        """Find a way to the agent at the other end of `peer`, by a device of this machine.

        So nothing that leads the cluster's addresses elsewhere is in between, as a session does.
        Raises :class:`NotReachable` when there is none; then the agent listens no more.
        """
        try:
            if self._identity is None:
                self._identity = await _new_identity()
            answer = await request(peer, Kind.DIRECT, self._identity.pem, OFFER_SECONDS)
        except (StreamReset, LinkLost, OSError) as error:  # of time, and of having no memory file
            raise NotReachable(f"the agent does not listen: {error}") from error
        way = _Way(addresses, int.from_bytes(answer, "big"), device, self._identity)
        try:
            transport, _ = await _dial(way, asyncio.Protocol)
        except NotReachable:
            with suppress(StreamReset, LinkLost, OSError):
                await request(peer, Kind.DIRECT, b"", OFFER_SECONDS)
            raise
        transport.abort()
        self._way = way


async def _dial(way: _Way, protocol_factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
    """Try the addresses in turn. Raises NotReachable."""
    errors = []
    for address in way.addresses:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await _dial_one(address, way, protocol_factory)
        except OSError as error:  # of TLS and of time, too
            errors.append(f"{address} port {way.port}: {str(error) or 'no answer'}")
    raise NotReachable("; ".join(errors) or "it has no address")


async def _dial_one(
    address: str, way: _Way, protocol_factory: Callable[[], P]
) -> tuple[asyncio.Transport, P]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "SO_BINDTODEVICE"):
            connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_BINDTODEVICE, way.device.encode() + b"\0"
            )
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, (address, way.port))
        return await loop.create_connection(
            protocol_factory, sock=connection, ssl=way.identity.context, server_hostname=""
        )
    except BaseException:
        connection.close()
        raise


async def _new_identity() -> _Identity:
    """By a process of its own: what it takes to make a key would stay in this one's memory."""
    maker = await asyncio.create_subprocess_exec(
        *_MAKER, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
    )
    try:
        pem, _ = await maker.communicate()
    finally:
        if maker.returncode is None:
            maker.kill()
            await maker.wait()
    if maker.returncode:
        raise NotReachable("no key could be made for it")
    return identity_of(pem)


def identity_of(pem: bytes) -> _Identity:
    """What a key with its certificate is used as."""
    return _Identity(pem, identity.context(pem, server=False))
