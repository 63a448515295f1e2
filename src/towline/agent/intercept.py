"""Listens on ports of this pod; what comes goes to the session that claims it, or passes by."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Callable, cast

from towline.agent.passing import Passing
from towline.relay import sockets
from towline.relay.peer import LinkLost, Peer
from towline.relay.splice import Splice
from towline.relay.stream import Stream
from towline.wire.frames import Buffer, Kind, Reason
from towline.wire.target import Claim, Incoming, Port, Target

BACKLOG = 1024
# What a connection may send to a session that has not accepted it yet: so much is kept, so that
# it can begin anew with the original if the session does not take it.
KEPT_BYTES = 64 * 1024
# A session that is well answers within a round trip and a local connect.
ACCEPT_SECONDS = 3.0
PASS_SECONDS = 10.0


@dataclass(frozen=True)
class Intercepted:
    """A port to listen on, and where its connections belong: None, and unclaimed ones are reset."""

    port: Port
    original: Target | None = None

    def __str__(self) -> str:
        if self.original is None:
            return str(self.port)
        host, number = self.original.host, self.original.port
        return f"{self.port}={f'[{host}]' if ':' in host else host}:{number}"

    @classmethod
    def parse(cls, text: str) -> Intercepted:
        """Read `PORT` or `PORT=HOST:PORT`, the first with its protocol. Raises ValueError."""
        port, _, original = text.partition("=")
        if not original:
            return cls(Port.parse(port))
        host, _, number = original.rpartition(":")
        return cls(Port.parse(port), Target(host.strip("[]"), int(number)))


Run = Callable[[Coroutine[Any, Any, None]], None]
"""Runs a coroutine in a task that its owner ends."""


class Interception:
    """The ports that this agent listens on, all from :meth:`start` to :meth:`close`."""

    def __init__(self, ports: Sequence[Intercepted], run: Run) -> None:
        self._ports = {each.port: _Port(each, run) for each in ports}
        self._servers: list[asyncio.AbstractServer] = []

    async def start(self) -> None:
        """Listen. Raises OSError when a port cannot be had."""
        loop = asyncio.get_running_loop()
        for number, port in self._ports.items():
            server = await loop.create_server(port.arrival, sock=_listening(number.number))
            self._servers.append(server)

    def close(self) -> None:
        """Listen no more."""
        for server in self._servers:
            server.close()

    def claim(self, peer: Peer, stream: Stream, target: bytes) -> None:
        """Give a port's connections to a peer from now on, for as long as the stream lasts."""
        try:
            port = self._ports[Claim.decode(target).port]
        except (ValueError, KeyError):
            stream.reset(Reason.UNSUPPORTED)
            return
        stream.handler = port.claim(peer)
        stream.accept()


class _Port:
    """A port, and the peers that claim its connections."""

    def __init__(self, intercepted: Intercepted, run: Run) -> None:
        self.number = intercepted.port
        self.original = intercepted.original
        self.claims: dict[_Claim, Peer] = {}
        self.run = run

    def claim(self, peer: Peer) -> _Claim:
        """Offer connections to a peer until the claim ends."""
        claim = _Claim(lambda: self.claims.pop(claim, None))
        self.claims[claim] = peer
        return claim

    def arrival(self) -> asyncio.Protocol:
        """The protocol for a connection that has come."""
        return _Arrival(self)

    def offer(self, client: Target) -> Stream | None:
        """A stream for a connection to the claimant with the least to do, if there is one."""
        peers = sorted(set(self.claims.values()), key=lambda peer: len(peer.streams))
        for peer in peers:
            try:
                return peer.open(Kind.INCOMING, Incoming(self.number, client).encode())
            except LinkLost:
                continue
        return None


class _Claim:
    """The handler of a stream of kind CLAIM, which carries nothing and ends."""

    def __init__(self, ended: Callable[[], object]) -> None:
        self._ended = ended

    def accepted(self) -> None:
        """It is the other end's stream."""

    def data(self, data: Buffer) -> None:
        """Nothing is to be said."""

    def credit(self) -> None:
        """Nothing is to be sent."""

    def eof(self) -> None:
        """The claim is given up."""
        self._ended()

    def reset(self, reason: Reason) -> None:
        """The claim is given up, or its session is gone."""
        self._ended()


class _Arrival(asyncio.Protocol):
    """A connection that has come: offered to a claimant until that accepts it, else passed by.

    What it sends meanwhile goes to the claimant at once and is kept as well.
    """

    def __init__(self, port: _Port) -> None:
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._stream: Stream | None = None
        self._kept = bytearray()
        self._eof = False
        self._patience: asyncio.TimerHandle | None = None

    # -- the connection (asyncio.Protocol)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Offer it."""
        self._transport = cast("asyncio.Transport", transport)
        sockets.send_at_once(transport)
        host, port = transport.get_extra_info("peername")[:2]
        self._client = Target(_plain(host), port)
        self._offer()

    def data_received(self, data: bytes) -> None:
        """Send it on, and keep it."""
        self._kept += data
        if self._stream is not None:
            self._stream.send(data)
        if len(self._kept) >= KEPT_BYTES:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Pass it on, and keep it."""
        self._eof = True
        if self._stream is not None:
            self._stream.send_eof()
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client has gone."""
        self._end_offer()

    # -- the offered stream (StreamHandler)

    def accepted(self) -> None:
        """The claimant has taken it: from now on it is an ordinary splice."""
        stream, self._stream = self._stream, None
        self._end_offer()
        assert stream is not None
        splice = Splice(stream)
        self._transport.set_protocol(splice)
        splice.connection_made(self._transport)
        if self._eof:
            splice.eof_received()
        else:
            self._transport.resume_reading()

    def data(self, data: Buffer) -> None:
        """Nothing comes before the stream is accepted."""

    def eof(self) -> None:
        """Nothing comes before the stream is accepted."""

    def credit(self) -> None:
        """What is kept is less than a window."""

    def reset(self, reason: Reason) -> None:
        """The claimant does not take it, or is gone: there may be another."""
        self._stream = None
        self._end_offer()
        if reason is Reason.LINK_LOST:
            self._offer()
        else:
            self._pass_by()

    # -- helpers

    def _offer(self) -> None:
        """Offer it, with all that it has said, to a claimant; without one it passes by."""
        if self._transport.is_closing():
            return
        stream = self._stream = self._port.offer(self._client)
        if stream is None:
            self._pass_by()
            return
        stream.handler = self
        stream.send(bytes(self._kept))
        if self._eof:
            stream.send_eof()
        self._patience = self._loop.call_later(ACCEPT_SECONDS, self._give_up)

    def _give_up(self) -> None:
        """The claimant does not answer."""
        self._end_offer()
        self._pass_by()

    def _end_offer(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.reset(Reason.CANCELLED)

    def _pass_by(self) -> None:
        if self._transport.is_closing():
            return
        original = self._port.original
        if original is None:
            sockets.abort_with_reset(self._transport)
            return
        client = Passing(self._kept, self._eof)
        self._transport.set_protocol(client)
        client.connection_made(self._transport)
        self._port.run(_join(client, original))


async def _join(client: Passing, original: Target) -> None:
    """Join a client to the original, or reset it."""
    loop = asyncio.get_running_loop()
    dialling = loop.create_connection(Passing, original.host, original.port)
    try:
        _, upstream = await asyncio.wait_for(dialling, PASS_SECONDS)
    except (OSError, asyncio.TimeoutError):
        client.abort()
        return
    client.join(upstream)


def _listening(port: int) -> socket.socket:
    """A socket that listens on all addresses of this pod, of both families where it has both."""
    for family, host in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):  # noqa: S104
        try:
            made = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.bind((host, port))
            made.listen(BACKLOG)
        except OSError as error:
            made.close()
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            continue
        made.setblocking(False)
        return made
    raise OSError(errno.EADDRNOTAVAIL, "this pod has neither IPv4 nor IPv6")


def _plain(host: str) -> str:
    """An address without zone, and IPv4 as such although the socket is one of IPv6."""
    host = host.partition("%")[0]
    return host.removeprefix("::ffff:")
