"""A client of the proxy that speaks HTTP: one request after another, until it wants a tunnel."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import NoReturn

import h11

from towline.features.first import first
from towline.features.uplink.proxy.parting import part
from towline.features.uplink.proxy.ways import Ways
from towline.features.uplink.proxy.wires import Near, Refusal, Wire
from towline.features.uplink.reach import why
from towline.proxy import http
from towline.proxy.http import Exchange
from towline.proxy.request import Malformed
from towline.wire.frames import Reason
from towline.wire.target import Target

log = logging.getLogger(__name__)

# A client that does not say what it wants is cut off; one that has been answered may take longer
# than programs keep their connections open for.
REQUEST_SECONDS = 30.0
IDLE_SECONDS = 300.0


class Requests:
    """Serves one client, until it has no more to ask."""

    def __init__(self, ways: Ways, client: Near) -> None:
        self._ways = ways
        self._client = client
        self._here = http.client_connection()

    async def serve(self) -> None:
        """Serve it, and close the connection unless it is a tunnel by then."""
        last_words = b""
        try:
            request = await self._next(REQUEST_SECONDS)
            while request is not None:
                if last_words := http.own_answer(request):
                    break
                if not await self._serve_one(request):
                    return
                self._here.start_next_cycle()
                request = await self._next(IDLE_SECONDS)
        except Malformed as error:
            last_words = error.answer
        except (TimeoutError, h11.LocalProtocolError):
            pass  # it is silent, or nothing can follow the last answer
        except Exception:
            log.info("a client of the proxy is cut off", exc_info=True)
            self._client.abort()
            return
        except BaseException:
            self._client.abort()
            raise
        part(self._client.transport, last_words)

    async def _next(self, patience: float) -> h11.Request | None:
        """What it asks; None if it has ended."""
        async with asyncio.timeout(patience):
            while (request := http.next_request(self._here)) is True:
                self._here.receive_data(await self._client.read())
        return request or None

    async def _serve_one(self, request: h11.Request) -> bool:
        """Have one answered; whether others may follow. Raises Malformed with the answer."""
        try:
            target = http.target_of(request)
            if request.method == http.CONNECT:
                await self._tunnel(target)
                return False
            await self._pass_on(Exchange(self._here, request), target)
        except Malformed as error:
            raise Malformed(str(error), http.fit(error.answer, request)) from None
        return True

    async def _tunnel(self, target: Target) -> None:
        said = http.rest(self._here) + self._client.let_go()
        try:
            await self._ways.join(self._client.transport, target, http.ESTABLISHED, said)
        except Refusal as error:
            raise _refused(target, error) from None

    async def _pass_on(self, exchange: Exchange, target: Target) -> None:
        """Have one request answered. Raises Malformed with the answer when its target does not."""
        there: Wire | None = None
        try:
            there = await self._ways.wire(target)
            await first(self._hear(exchange, there), self._ask(exchange, there))
            if exchange.is_switched:
                await self._switch(exchange, there)
        except Refusal as error:
            if exchange.is_answered:
                raise
            raise _refused(target, error) from None
        except h11.ProtocolError as error:
            log.info("%s does not speak HTTP: %s", target, error)
            if exchange.is_answered:
                raise Refusal(Reason.RESET) from None
            raise Malformed(str(error), http.bad_answer(target)) from None
        finally:
            if there is not None:
                (there.close if exchange.is_over else there.abort)()

    async def _ask(self, exchange: Exchange, there: Wire) -> NoReturn:
        """Tell the target, also that the client says no more, as then it may be gone.

        Whether the target hears is seen by its answer.
        """
        with suppress(Refusal):
            await there.write(exchange.begin)
            while not exchange.is_said:
                await there.write(exchange.ask())
                if not exchange.is_said:
                    self._here.receive_data(await self._client.read())
            if not exchange.may_switch:
                more = await self._client.read()
                self._here.receive_data(more)
                if not more:
                    there.end()
        await asyncio.Event().wait()
        raise AssertionError

    async def _hear(self, exchange: Exchange, there: Wire) -> None:
        """Tell the client what the target answers."""
        while not (exchange.is_over or exchange.is_switched):
            await self._client.write(exchange.answer(await there.read()))

    async def _switch(self, exchange: Exchange, there: Wire) -> None:
        """Both speak another protocol from now on."""
        from_client, from_target = exchange.rest()
        async with asyncio.TaskGroup() as group:
            group.create_task(_carry(from_client, self._client, there))
            group.create_task(_carry(from_target, there, self._client))


async def _carry(said: bytes, wire: Wire, other: Wire) -> None:
    await other.write(said)
    while data := await wire.read():
        await other.write(data)
    other.end()


def _refused(target: Target, error: Refusal) -> Malformed:
    text = why(error.reason) or "it was reset"
    return Malformed(text, http.refusal(target, error.reason, text))
