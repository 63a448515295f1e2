"""Which addresses are led into the link while a session lasts, and which keep their own way."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Protocol
from urllib.parse import urlsplit

from towline.cluster import ranges
from towline.cluster.ranges import Address, Network, Source
from towline.kube.config import Access
from towline.kube.proxy import proxy_for
from towline.redirect import conflicts
from towline.redirect.messages import InvalidRequest, check_range
from towline.redirect.rtnetlink import Rtnetlink

# Who wants a network led, besides the sources of ranges.
INCLUDED = "included"
NAMED = "named"
# Who wants addresses that are known to exist, and no others.
_PRECISE = frozenset({NAMED, Source.SEEN})


class Routes(Protocol):
    """What leads ranges here: see :class:`~towline.redirect.control.Redirect`."""

    async def add_routes(self, ranges: Iterable[Network]) -> None:
        """Lead ranges to the session."""

    async def remove_routes(self, ranges: Iterable[Network]) -> None:
        """Undo it."""


class Leads:
    """Leads networks to the session, each for as long as somebody wants it.

    Some addresses keep their own way, whatever network they are in:

    - what the link and this machine's own lookups need, and what the user excludes: always;
    - nodes, unless the user includes them;
    - what this machine has routes of its own to: those that are known to exist are led.
    """

    def __init__(
        self,
        routes: Routes,
        kept_out: Iterable[Address] = (),
        excluded: Iterable[Network] = (),
    ) -> None:
        self._routes = routes
        self._wanted: dict[str, frozenset[Network]] = {}
        self._led: Counter[Network] = Counter()  # each route, with how many want it
        self._prefixes: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}  # of these, by length
        self._kept_out = set(map(ip_network, kept_out)) | set(excluded)
        self._nodes: frozenset[Network] = frozenset()
        self._shared: frozenset[Network] = frozenset()
        self._turn = asyncio.Lock()

    def __contains__(self, address: Address) -> bool:
        """Whether an address is led to the session."""
        bits, size = int(address), address.max_prefixlen
        prefixes = self._prefixes[address.version]
        return any(bits >> (size - length) in some for length, some in prefixes.items())

    @property
    def ranges(self) -> list[Network]:
        """What is wanted, in as few networks as possible."""
        return ranges.merge(network for some in self._wanted.values() for network in some)

    @property
    def sources(self) -> Mapping[str, list[Network]]:
        """The same by who wants it."""
        return {who: ranges.merge(some) for who, some in self._wanted.items() if some}

    async def hold(self, who: str, networks: Iterable[Network]) -> None:
        """Lead these networks for somebody, and no others that were led for them before.

        What is :func:`leadable` is meant; the rest is passed over.
        """
        async with self._turn:
            await self._hold(who, frozenset(networks))

    async def add_addresses(self, addresses: Iterable[Address]) -> None:
        """Lead addresses here that a name of the cluster has.

        Not those that this machine reaches without a router: a name of the cluster that has
        the address of a node next to us, or of this machine itself, must not break what others
        have with that. It is another matter where the cluster has such a range itself.
        """
        async with self._turn:
            unknown = [address for address in addresses if address not in self]
            if not unknown:  # as most are
                return
            with Rtnetlink() as kernel:
                new = [
                    ip_network(address)
                    for address in unknown
                    if leadable(ip_network(address))
                    and (_is_in(address, self._shared) or not kernel.is_near(address))
                ]
            new = conflicts.without(new, self._holes(NAMED))
            if new:
                await self._hold(NAMED, self._wanted.get(NAMED, frozenset()).union(new))

    async def keep_out(self, addresses: Iterable[Address | Network]) -> None:
        """Give addresses their own way from now on, until the end."""
        new = set(map(ip_network, addresses)) - self._kept_out
        if new:
            async with self._turn:
                before = self._ways()
                self._kept_out |= new
                await self._change(self._ways(), before)

    async def spare(self, nodes: Iterable[Address], shared: Iterable[Network]) -> None:
        """Leave nodes alone, and what this machine has routes of its own to, as of now."""
        holes = frozenset(map(ip_network, nodes)), frozenset(shared)
        if holes != (self._nodes, self._shared):
            async with self._turn:
                before = self._ways()
                self._nodes, self._shared = holes
                await self._change(self._ways(), before)

    async def _hold(self, who: str, networks: frozenset[Network]) -> None:
        before = self._wanted.get(who, frozenset())
        gone = before - networks
        new = frozenset(filter(leadable, networks - before))
        if new or gone:
            holes = self._holes(who)
            await self._change(conflicts.without(new, holes), conflicts.without(gone, holes))
            self._wanted[who] = (before - gone) | new

    def _holes(self, who: str) -> set[Network]:
        if who == INCLUDED:
            return self._kept_out
        if who in _PRECISE:
            return self._kept_out | self._nodes
        return self._kept_out | self._nodes | self._shared

    def _ways(self) -> list[Network]:
        """The routes of all that is wanted."""
        return [
            way
            for who, some in self._wanted.items()
            for way in conflicts.without(some, self._holes(who))
        ]

    async def _change(self, added: Iterable[Network], removed: Iterable[Network]) -> None:
        led = self._led.copy()
        led.update(added)
        led.subtract(removed)
        led = +led
        # In this order nothing of the rest is without its way in between.
        if new := led.keys() - self._led.keys():
            await self._routes.add_routes(new)
        if gone := self._led.keys() - led.keys():
            await self._routes.remove_routes(gone)
        self._led = led
        self._prefixes = {4: {}, 6: {}}
        for net in led:
            some = self._prefixes[net.version].setdefault(net.prefixlen, set())
            some.add(int(net.network_address) >> (net.max_prefixlen - net.prefixlen))


def leadable(network: Network) -> bool:
    """Whether the helper would lead a range here: not this machine's own or its link's."""
    with suppress(InvalidRequest):
        check_range(network)
        return True
    return False


def hosts_of(access: Access) -> list[str]:
    """The hosts by whose names the API server is found: its own, and that of a proxy to it."""
    urls = (access.server, access.proxy or proxy_for(access.server, os.environ))
    return [host for url in urls if (host := urlsplit(url).hostname)]


async def addresses_of(access: Access) -> set[Address]:
    """Where the link goes to: the addresses of the API server, and of the proxy to it."""
    found = await asyncio.gather(*map(resolve, hosts_of(access)))
    return set().union(*found)


async def resolve(host: str) -> set[Address]:
    """The addresses that this machine's own resolver knows of a host."""
    loop = asyncio.get_running_loop()
    with suppress(OSError, UnicodeError):
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return {ip_address(str(entry[4][0]).partition("%")[0]) for entry in found}
    return set()


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == net.version and address in net for net in networks)
