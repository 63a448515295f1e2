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
from towline.features.uplink.dialer import Dialer
from towline.features.uplink.leads import Leads
from towline.features.uplink.names import Lookup, Names
from towline.kube.client import Client
from towline.redirect.errors import DialError
from towline.wire.dns import DnsError, Name

DIAL_SECONDS = 5.0
LOOK_SECONDS = 5.0
# All that one request takes, dials and looks being made side by side.
EXPLAIN_SECONDS = 20.0
# Of a name with many; they are alike.
_ADDRESSES = 4


class Explainer:
    """Answers for one session, whose parts it is given, what `tow explain` asks."""

    def __init__(
        self, client: Client, namespace: str, names: Names, leads: Leads, dialer: Dialer
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._names = names
        self._leads = leads
        self._dialer = dialer

    async def explain(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What there is to say of `host` (a name or an address) and `port` (0 for none).

        `name` is the :class:`Lookup`, None for an address. Of each address: whether it is `led`
        into the link, what the cluster `has` there (:class:`~towline.cluster.behind.Behind`), and
        how a `dial` of the agent ended: "accepted", or a :class:`~towline.redirect.errors.Reason`.
        """
        host, port = str(request.get("host", "")), int(request.get("port", 0))
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

    async def _of_address(self, address: Address, port: int) -> dict[str, Any]:
        told: dict[str, Any] = {"address": str(address), "led": address in self._leads}
        if told["led"]:
            async with asyncio.TaskGroup() as group:
                has = group.create_task(self._behind(address))
                dial = group.create_task(self._dial(address, port)) if port else None
            told |= {"has": has.result(), "dial": dial.result() if dial else None}
        return told

    async def _behind(self, address: Address) -> dict[str, Any] | None:
        with suppress(TowlineError, TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                found = await behind.find(self._client, address, self._namespace)
            return asdict(found) if found else None
        return None

    async def _dial(self, address: Address, port: int) -> str:
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                connected = await self._dialer.dial(address, port)
        except DialError as error:
            return error.reason.value
        except TimeoutError:
            return "timed out"
        connected.abort()
        return "accepted"


def _of_lookup(lookup: Lookup) -> dict[str, Any]:
    return {**lookup._asdict(), "addresses": [str(each) for each in lookup.addresses]}
