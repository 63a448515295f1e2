"""Which addresses are led into the link while a session lasts, and which keep their own way."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Protocol
from urllib.parse import urlsplit

from towline.cluster import ranges
from towline.cluster.ranges import Address, Network
from towline.kube.config import Access
from towline.kube.proxy import proxy_for
from towline.redirect import conflicts
from towline.redirect.messages import InvalidRequest, check_range
from towline.redirect.rtnetlink import Rtnetlink


class Routes(Protocol):
    """What leads ranges here: see :class:`~towline.redirect.control.Redirect`."""

    async def add_routes(self, ranges: Iterable[Network]) -> None:
        """Lead ranges to the session."""

    async def remove_routes(self, ranges: Iterable[Network]) -> None:
        """Undo it."""


class Leads:
    """Leads the cluster's ranges, and addresses that its names have, to the session.

    Addresses that are kept out have their own way, whatever range they are in: what the link
    and this machine's own lookups need must not be led into the link. `ranges` are the
    cluster's, in as few networks as possible.
    """

    def __init__(self, routes: Routes, kept_out: Iterable[Address] = ()) -> None:
        self.ranges: list[Network] = []
        self._routes = routes
        self._networks: set[Network] = set()  # each with routes of its own, unlike `ranges`
        self._kept_out = set(kept_out)

    def __contains__(self, address: Address) -> bool:
        """Whether an address is led to the session."""
        return address not in self._kept_out and any(
            address in network for network in self.ranges if network.version == address.version
        )

    async def add(self, networks: Iterable[Network]) -> None:
        """Lead ranges of the cluster here, which must be :func:`leadable`."""
        networks = list(networks)
        await self._routes.add_routes(conflicts.without(networks, self._kept_out))
        self._networks.update(networks)
        self.ranges = ranges.merge(self._networks)

    async def add_addresses(self, addresses: Iterable[Address]) -> None:
        """Lead addresses here that a name of the cluster has.

        Not those that this machine reaches without a router: a name of the cluster that has
        the address of a node next to us, or of this machine itself, must not break what others
        have with that.
        """
        with Rtnetlink() as kernel:
            new = [
                ip_network(address)
                for address in addresses
                if address not in self
                and address not in self._kept_out
                and leadable(ip_network(address))
                and not kernel.is_near(address)
            ]
        if new:
            await self.add(new)

    async def keep_out(self, addresses: Iterable[Address]) -> None:
        """Give addresses their own way from now on, until the end."""
        before = set(conflicts.without(self._networks, self._kept_out))
        self._kept_out.update(addresses)
        after = set(conflicts.without(self._networks, self._kept_out))
        # In this order nothing of the rest is without its way in between.
        await self._routes.add_routes(after - before)
        await self._routes.remove_routes(before - after)


def leadable(network: Network) -> bool:
    """Whether the helper would lead a range here: not this machine's own or its link's."""
    with suppress(InvalidRequest):
        check_range(network)
        return True
    return False


def hosts_of(access: Access) -> list[str]:
    """The hosts by whose names the API server is found: its own, and that of a proxy to it."""
    urls = (access.server, _proxy_of(access))
    return [host for url in urls if (host := urlsplit(url).hostname)]


async def addresses_of(access: Access) -> list[Address]:
    """Where the link goes to: the addresses of the API server, or of the proxy to it."""
    parts = urlsplit(_proxy_of(access) or access.server)
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        found = await loop.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
        return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return []


def _proxy_of(access: Access) -> str:
    return access.proxy or proxy_for(access.server, os.environ)
