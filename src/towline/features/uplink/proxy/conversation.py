"""One connection to the proxy: what it asks for, the way there, and then it is joined to that."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import cast

from towline.features.uplink.dialled import Dialled
from towline.features.uplink.listening import join as join_stream
from towline.features.uplink.proxy import joined
from towline.features.uplink.proxy.association import Association
from towline.features.uplink.proxy.joined import Side
from towline.features.uplink.proxy.whose import Unknown, Whose
from towline.features.uplink.reach import PATIENCE_SECONDS, why
from towline.link.link import Link
from towline.proxy.opening import dialect
from towline.proxy.request import Dialect, Malformed, Request, Take
from towline.relay import sockets
from towline.relay.peer import LinkLost
from towline.relay.splice import reason_of
from towline.relay.stream import Stream
from towline.wire.frames import Kind, Reason
from towline.wire.target import Target

log = logging.getLogger(__name__)

# A client that does not say what it wants is cut off.
REQUEST_SECONDS = 30.0
# A destination that has not answered by then does not.
DIAL_SECONDS = 60.0


class Refusal(Exception):  # noqa: N818
    """There is no connection, for a reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.name)
        self.reason = reason


class _Taking(Dialled):
    """A splice that passes on only what is to be, of what the client says."""

    take: Take

    def data_received(self, data: bytes) -> None:
        if taken := self.take(data):
            super().data_received(taken)


class Conversation(asyncio.Protocol):
    """A client's connection, until it is joined to what it asks for."""

    def __init__(self, link: Link, whose: Whose, group: asyncio.TaskGroup) -> None:
        self._link = link
        self._whose = whose
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._dialect: Dialect | None = None
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        self._association: Association | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for what it says."""
        self._transport = cast("asyncio.Transport", transport)
        sockets.send_at_once(transport)
        self._patience = self._loop.call_later(REQUEST_SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        """Take in the request; nothing is read behind it, before it is answered."""
        if self._association is not None:
            return
        self._dialect = self._dialect or dialect(data[0])
        try:
            answer = self._dialect.receive(data)
        except Malformed as error:
            self._close(error.answer)
            return
        if answer:
            self._transport.write(answer)
        if (request := self._dialect.request) is not None:
            self._patience.cancel()
            if not request.is_association:
                self._transport.pause_reading()
            self._task = self._group.create_task(self._serve(request, self._dialect))

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone: so is what it wanted."""
        self._patience.cancel()
        if self._task is not None:
            self._task.cancel()
        if self._association is not None:
            self._association.close()

    async def _serve(self, request: Request, talk: Dialect) -> None:
        try:
            if request.is_association:
                await self._associate(request, talk)
            else:
                await self._connect(request, talk)
        except Refusal as error:
            self._close(talk.refused(error.reason, why(error.reason) or "it was reset"))
        except (OSError, ValueError):
            # A name that no resolver takes, or no port is left for datagrams.
            self._close(talk.refused(Reason.INTERNAL, why(Reason.INTERNAL)))
        except Exception:
            log.info("a client of the proxy is cut off", exc_info=True)
            self._transport.abort()
        finally:
            self._task = None

    async def _connect(self, request: Request, talk: Dialect) -> None:
        """Dial, answer, and join."""
        target = request.target
        try:
            inside = await self._whose.in_cluster(target.host)
        except Unknown:
            raise Refusal(Reason.LINK_LOST) from None
        if inside is None:
            await self._connect_from_here(request, talk)
            return
        splice = await self._dial(Target(inside, target.port), _first(request))
        self._transport.write(talk.accepted(target))
        join_stream(self._transport, splice, request.said + talk.rest)

    async def _connect_from_here(self, request: Request, talk: Dialect) -> None:
        target = request.target
        there = Side()
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                await self._loop.create_connection(
                    lambda: there, target.host, target.port, happy_eyeballs_delay=0.25
                )
        except (OSError, TimeoutError) as error:
            raise Refusal(reason_of(error)) from None
        here = Side(_first(request))
        self._transport.write(talk.accepted(target))
        self._transport.set_protocol(here)
        here.connection_made(self._transport)
        joined.join(here, there, request.said + talk.rest)

    async def _dial(self, target: Target, take: Take) -> _Taking:
        """A stream to a target that has accepted. Raises Refusal."""
        splice = _Taking(await self._open(target))
        splice.take = take
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

    async def _associate(self, request: Request, talk: Dialect) -> None:
        """Have a port for datagrams, which lasts as long as this connection."""
        host = self._transport.get_extra_info("sockname")[0]
        client = self._transport.get_extra_info("peername")[0]
        self._association = await Association.open(
            self._link, self._whose, self._group, host, client, request.target.port
        )
        self._transport.write(talk.accepted(self._association.address))

    def _close(self, answer: bytes) -> None:
        """Say it, and no more; what else the client says is not waited for."""
        if answer:
            self._transport.write(answer)
        self._transport.set_protocol(_Ended(self._transport))
        self._patience.cancel()


class _Ended(asyncio.Protocol):
    """A client that has been told all: it may still be saying something, which is dropped.

    Closed while that is unread, it would be told of a reset instead of the answer.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        if not transport.is_closing():
            with suppress(OSError):  # it has been reset
                transport.write_eof()
        transport.resume_reading()
        self._end = asyncio.get_running_loop().call_later(2.0, transport.abort)

    def eof_received(self) -> None:
        """It has ended, too."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """All is over."""
        self._end.cancel()


def _first(request: Request) -> Take:
    """What to take of a client's words: all of what stands for its request, then what it says."""
    left = len(request.said)

    def take(data: bytes) -> bytes:
        nonlocal left
        head, rest = data[:left], data[left:]
        left -= len(head)
        return head + (request.take(rest) if rest else b"")

    return take
