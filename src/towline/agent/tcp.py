"""A TCP port of this pod; connections go to the session that claims it, or pass by."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import cast

from towline.agent.claims import ACCEPT_SECONDS, Claims
from towline.agent.context import Context
from towline.agent.copying import CopiedPassing, Copy
from towline.agent.kubelet import HEAD_SECONDS, is_request
from towline.agent.listening import LOOPBACK, asked_address, bound, plain
from towline.agent.passing import Passing
from towline.agent.underway import Underway
from towline.relay import sockets
from towline.relay.splice import Splice
from towline.relay.stream import Stream
from towline.wire.frames import Buffer, Reason
from towline.wire.target import Port, Target

# What a connection may send to a session that has not accepted it yet: so much is kept, so that
# it can begin anew with the original if the session does not take it.
KEPT_BYTES = 64 * 1024
PASS_SECONDS = 10.0


class TcpPort:
    """A port that is listened on from :meth:`start` to :meth:`close`.

    Connections that nobody claims go to `original`, and what their clients say, in copy, to whoever
    claims that; without an original they are reset. An original without a host is at the address
    that the client has asked for.

    Requests of the kubelet go to the original, whoever claims. With `inside`, it is a port of this
    pod's loopback alone.
    """

    def __init__(
        self, port: Port, original: Target | None, context: Context, *, inside: bool = False
    ) -> None:
        self.claims = Claims(port)
        self.original = original
        self.number = port.number
        self.context = context
        self._inside = inside
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> int:
        """Listen, and give the port for that. Raises OSError when it cannot be had."""
        number = 0 if self.context.kubelet else self.number
        where = {"where": LOOPBACK} if self._inside else {}
        listening = bound(number, socket.SOCK_STREAM, **where)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Arrival(self), sock=listening)
        return int(listening.getsockname()[1])

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()


class _Arrival(asyncio.Protocol):
    """A connection that has come: offered to a claimant until that accepts it, else passed by.

    What it sends meanwhile goes to the claimant at once and is kept as well.
    """

    def __init__(self, port: TcpPort) -> None:
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._stream: Stream | None = None
        self._kept = bytearray()
        self._sent = 0  # of what is kept, to the claimant of now
        self._eof = False
        self._patience: asyncio.TimerHandle | None = None
        self._judging = False

    # -- the connection (asyncio.Protocol)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Offer it."""
        self._port.context.underway.came()
        self._transport = cast("asyncio.Transport", transport)
        sockets.send_at_once(transport)
        host, port = transport.get_extra_info("peername")[:2]
        self._client = Target(plain(host), port)
        kubelet = self._port.context.kubelet
        if kubelet is not None and kubelet.may_ask(self._port.number, self._client.host):
            self._judging = True
            self._patience = self._loop.call_later(HEAD_SECONDS, self._offer)
        else:
            self._offer()

    def data_received(self, data: bytes) -> None:
        """Send it on, and keep it."""
        self._kept += data
        if self._judging:
            self._judge()
        else:
            self.credit()
        if len(self._kept) >= KEPT_BYTES:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Pass it on, and keep it."""
        self._eof = True
        if self._judging:
            self._offer()
        else:
            self.credit()
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client has gone."""
        self._end_offer()
        self._port.context.underway.open -= 1

    # -- the offered stream (StreamHandler)

    def accepted(self) -> None:
        """The claimant has taken it: from now on it is an ordinary splice."""
        stream, self._stream = self._stream, None
        self._end_offer()
        self._port.context.underway.open -= 1
        assert stream is not None
        rest = bytes(self._kept[self._sent :])
        self._kept.clear()
        splice = Splice(stream)
        self._transport.set_protocol(splice)
        splice.connection_made(self._transport)
        if rest:
            splice.data_received(rest)
        if self._eof:
            splice.eof_received()
        else:
            splice.credit()  # it reads on, as soon as all that was said has gone

    def data(self, data: Buffer) -> None:
        """Nothing comes before the stream is accepted."""

    def eof(self) -> None:
        """Nothing comes before the stream is accepted."""

    def credit(self) -> None:
        """Send what the claimant has not got yet."""
        stream = self._stream
        if stream is None:
            return
        size = min(len(self._kept) - self._sent, stream.credit)
        stream.send(bytes(self._kept[self._sent : self._sent + size]))
        self._sent += size
        if self._eof and self._sent == len(self._kept):
            stream.send_eof()

    def reset(self, reason: Reason) -> None:
        """The claimant does not take it, or is gone: there may be another."""
        self._stream = None
        self._end_offer()
        if reason is Reason.LINK_LOST:
            self._offer()
        else:
            self._pass_by()

    # -- helpers

    def _judge(self) -> None:
        """Tell the kubelet from whoever comes from the same address, by what it says first."""
        is_kubelet = is_request(bytes(self._kept))
        if is_kubelet:
            self._end_offer()
            self._pass_by(copied=False)
        elif is_kubelet is not None:
            self._offer()

    def _offer(self) -> None:
        """Offer it, with all that it has said, to a claimant; without one it passes by."""
        self._end_offer()
        if self._transport.is_closing():
            return
        stream = self._stream = self._port.claims.offer(self._client)
        if stream is None:
            self._pass_by()
            return
        stream.handler = self
        self._sent = 0
        self.credit()
        self._patience = self._loop.call_later(ACCEPT_SECONDS, self._give_up)

    def _give_up(self) -> None:
        """The claimant does not answer."""
        self._end_offer()
        self._pass_by()

    def _end_offer(self) -> None:
        self._judging = False
        if self._patience is not None:
            self._patience.cancel()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.reset(Reason.CANCELLED)

    def _pass_by(self, *, copied: bool = True) -> None:
        if self._transport.is_closing():
            return
        original = self._port.original
        if original is None:
            sockets.abort_with_reset(self._transport)
            return
        if not original.host:
            original = Target(asked_address(self._transport), original.port)
        underway = self._port.context.underway
        stream = self._port.claims.offer(self._client, copy=True) if copied else None
        if stream is None:
            client = Passing(underway, self._kept, self._eof)
        else:
            copy = Copy(stream, self._port.context.waiting)
            client = CopiedPassing(copy, underway, self._kept, self._eof)
        self._transport.set_protocol(client)
        client.connection_made(self._transport)
        underway.open -= 1  # as an offer
        hosts = self._port.context.addresses.of(original.host)
        self._port.context.run(_join(client, hosts, original.port, underway))


async def _join(client: Passing, hosts: Sequence[str], port: int, underway: Underway) -> None:
    """Join a client to the original, or reset it."""
    try:
        upstream = await asyncio.wait_for(_dial(hosts, port, underway), PASS_SECONDS)
    except (OSError, asyncio.TimeoutError):
        client.abort()
        return
    client.join(upstream)


async def _dial(hosts: Sequence[str], port: int, underway: Underway) -> Passing:
    """Connect to the first of some hosts that answers. Raises OSError when none does."""
    loop = asyncio.get_running_loop()
    failure = OSError()
    for host in hosts:
        try:
            _, made = await loop.create_connection(lambda: Passing(underway), host, port)
        except OSError as error:
            failure = error
        else:
            return made
    raise failure
