"""Moves a session's link to the agent's own address where that can be reached from here."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import suppress
from enum import StrEnum
from ipaddress import ip_address

from towline.errors import AgentError, RedirectError
from towline.link.direct import Direct, NotReachable
from towline.link.link import Connect, Link
from towline.redirect import conflicts
from towline.relay.peer import Peer

log = logging.getLogger(__name__)

# Those of sessions: the agent's address is behind them, but by a link that is to be saved.
_OF_SESSIONS = re.compile(r"tow\d+")


class Transport(StrEnum):
    """The way of a link: through the Kubernetes API, directly, or directly where that works."""

    AUTO = "auto"
    API = "api"
    DIRECT = "direct"


class Shortcut:
    """Makes a link's transports. What goes by the API is moved, and comes back when need be."""

    def __init__(self, by_api: Connect, wanted: Transport) -> None:
        self._direct = Direct(by_api)
        self._wanted = wanted
        self._device = ""
        self._link: Link | None = None
        self._group: asyncio.TaskGroup | None = None
        self._turn = asyncio.Lock()
        self.connect = self._direct.connect

    @property
    def transport(self) -> Transport:
        """The way of new transports."""
        return Transport.DIRECT if self._direct.is_open else Transport.API

    async def begin(self, link: Link, group: asyncio.TaskGroup) -> None:
        """Look for the way to the agent, before anything leads its address elsewhere.

        It is taken as soon as it is found, by tasks of `group`. Raises AgentError if it is to be
        that one and there is none.
        """
        if self._wanted is Transport.API:
            return
        self._link, self._group = link, group
        addresses = _addresses(link)
        self._device = await asyncio.to_thread(_device_to, addresses)
        if self._wanted is Transport.AUTO:
            self.consider(link.peer)
            return
        try:
            await self._move(link.peer)
        except NotReachable as error:
            raise AgentError(
                f"The agent's own address cannot be reached from here: {error}.",
                "It takes a route to the cluster's pods, as by a VPN. Without --transport direct "
                "the link goes through the Kubernetes API.",
            ) from error

    def consider(self, peer: Peer) -> None:
        """Move what goes by `peer`, which has come up, if it goes by the API and need not."""
        if self._device and self._group and self._direct.is_roundabout(peer):
            self._group.create_task(self._try(peer), name="shortcut")

    async def _try(self, peer: Peer) -> None:
        try:
            await self._move(peer)
        except NotReachable as error:
            log.info("the link stays with the Kubernetes API: %s", error)

    async def _move(self, peer: Peer) -> None:
        assert self._link
        async with self._turn:
            if not self._device:
                raise NotReachable("this machine has no route to it")
            if not self._direct.is_open:
                await self._direct.find(peer, _addresses(self._link), self._device)
        self._link.retire(self._direct.is_roundabout)


def _addresses(link: Link) -> list[str]:
    """Those of the agent's pod, as it says."""
    told = link.agent.get("addresses")
    return [str(each) for each in told] if isinstance(told, list) else []


def _device_to(addresses: list[str]) -> str:
    """The device by which this machine reaches the first of the addresses; "" for none."""
    for address in addresses[:1]:
        with suppress(RedirectError, ValueError):
            device = conflicts.device_to(ip_address(address))
            return "" if _OF_SESSIONS.fullmatch(device) else device
    return ""
