"""One connection to the proxy: what it asks for, and then it is joined to that."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from towline.features.uplink.proxy.association import Association
from towline.features.uplink.proxy.parting import part
from towline.features.uplink.proxy.requests import REQUEST_SECONDS, Requests
from towline.features.uplink.proxy.ways import Ways
from towline.features.uplink.proxy.whose import Whose
from towline.features.uplink.proxy.wires import Near, Refusal
from towline.features.uplink.reach import why
from towline.link.link import Link
from towline.proxy.opening import dialect
from towline.proxy.request import Dialect, Malformed, Request
from towline.relay import sockets
from towline.wire.frames import Reason

log = logging.getLogger(__name__)


class Conversation(asyncio.Protocol):
    """A client's connection, until it is joined to what it asks for."""

    def __init__(self, link: Link, whose: Whose, group: asyncio.TaskGroup) -> None:
        self._link = link
        self._whose = whose
        self._ways = Ways(link, whose)
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
        if self._dialect is None:
            self._hear_requests(data)
            return
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

    def _hear_requests(self, data: bytes) -> None:
        """Leave the connection to whoever knows HTTP, with what has come."""
        self._patience.cancel()
        client = Near()
        client.connection_made(self._transport)
        self._transport.set_protocol(client)
        client.data_received(data)
        client.on_lost = self._group.create_task(Requests(self._ways, client).serve()).cancel

    async def _serve(self, request: Request, talk: Dialect) -> None:
        try:
            if request.is_association:
                await self._associate(request, talk)
            else:
                accepted = talk.accepted(request.target)
                await self._ways.join(self._transport, request.target, accepted, talk.rest)
        except Refusal as error:
            self._close(talk.refused(error.reason, why(error.reason) or "it was reset"))
        except OSError:  # no port is left for datagrams
            self._close(talk.refused(Reason.INTERNAL, why(Reason.INTERNAL)))
        except Exception:
            log.info("a client of the proxy is cut off", exc_info=True)
            self._transport.abort()
        finally:
            self._task = None

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
        self._patience.cancel()
        part(self._transport, answer)
