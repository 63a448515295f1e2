"""What a session knows of a host: the name, the way of its addresses, and who answers there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from ipaddress import ip_address
from typing import Any

from towline.cluster import behind
from towline.cluster.ranges import Address
from towline.errors import TowlineError
from towline.features.uplink.dialer import Dialer, dial_reason
from towline.features.uplink.leads import Leads
from towline.features.uplink.names import Lookup, Names
from towline.kube.client import Client
from towline.link.association import Association
from towline.link.link import Link
from towline.redirect.errors import DialError, Reason
from towline.wire.dns import DnsError, Name
from towline.wire.target import Port, Protocol

DIAL_SECONDS = 5.0
LOOK_SECONDS = 5.0
# All that one request takes, dials and looks being made side by side.
EXPLAIN_SECONDS = 20.0
# A datagram may be lost, and what says that a port is closed, too.
DATAGRAMS = 2
DATAGRAM_SECONDS = 1.0
# Of a name with many; they are alike.
_ADDRESSES = 4


class Explainer:
    """Answers for one session, whose parts it is given, what `tow explain` asks."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        names: Names,
        leads: Leads,
        dialer: Dialer,
        link: Link,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._names = names
        self._leads = leads
        self._dialer = dialer
        self._link = link

    async def explain(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What there is to say of `host` (a name or an address) and `port` ("" for none).

        `name` is the :class:`Lookup`, None for an address. Of each address: whether it is `led`
        into the link, what the cluster `has` there (:class:`~towline.cluster.behind.Behind`), and
        how a `dial` of the agent ended: "accepted", or a :class:`~towline.redirect.errors.Reason`;
        for UDP, where nobody accepts, "answered" or "silent".
        """
        host, text = str(request.get("host", "")), str(request.get("port", ""))
        port = Port.parse(text) if text else None
        lookup, addresses = None, []
        try:
            addresses = [ip_address(host)]
        except ValueError:
            lookup = await self._look_up(host)
            addresses = list(lookup.addresses[:_ADDRESSES]) if lookup else []
        async with asyncio.TaskGroup() as group:
            told = [group.create_task(self._of_address(each, port)) for each in addresses]
        return {
            "name": _of_lookup(lookup) if lookup else None,
            "addresses": [each.result() for each in told],
        }

    async def _look_up(self, host: str) -> Lookup | None:
        with suppress(DnsError):
            return await self._names.look_up(Name.of(host))
        return None

    async def _of_address(self, address: Address, port: Port | None) -> dict[str, Any]:
        told: dict[str, Any] = {"address": str(address), "led": address in self._leads}
        if told["led"]:
            async with asyncio.TaskGroup() as group:
                protocol = port.protocol if port else Protocol.TCP
                has = group.create_task(self._behind(address, protocol))
                dial = group.create_task(self._try(address, port)) if port else None
            told |= {"has": has.result(), "dial": dial.result() if dial else None}
        return told

    async def _behind(self, address: Address, protocol: Protocol) -> dict[str, Any] | None:
        with suppress(TowlineError, TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                found = await behind.find(self._client, address, self._namespace, protocol)
            return asdict(found) if found else None
        return None

    async def _try(self, address: Address, port: Port) -> str:
        if port.protocol is Protocol.UDP:
            return await self._say(address, port.number)
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                connected = await self._dialer.dial(address, port.number)
        except DialError as error:
            return error.reason.value
        except TimeoutError:
            return "timed out"
        connected.abort()
        return "accepted"

    async def _say(self, address: Address, port: int) -> str:
        """What comes of a datagram without data, which means nothing to most programs."""
        if not self._link.up:
            return Reason.LINK_LOST.value
        heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def hear(what: str) -> None:
            if not heard.done():
                heard.set_result(what)

        association = Association(
            self._link,
            lambda *_: hear("answered"),
            lambda reason, *_: hear(dial_reason(reason).value),
        )
        try:
            for _ in range(DATAGRAMS):
                association.send(b"", str(address), port)
                await asyncio.wait({heard}, timeout=DATAGRAM_SECONDS)
                if heard.done():
                    return heard.result()
        finally:
            association.close()
        return "silent"


def _of_lookup(lookup: Lookup) -> dict[str, Any]:
    return {**lookup._asdict(), "addresses": [str(each) for each in lookup.addresses]}
