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
from towline.features.uplink.named import Named
from towline.kube.config import Access
from towline.kube.proxy import proxy_for
from towline.redirect.conflicts import Holes
from towline.redirect.messages import InvalidRequest, check_range
from towline.redirect.networks import Networks
from towline.redirect.rtnetlink import Rtnetlink

# Who wants a network led, besides the sources of ranges.
INCLUDED = "included"
NAMED = "named"
# Who wants addresses that are known to exist, and no others.
_PRECISE = frozenset({NAMED, Source.SEEN})


class Routes(Protocol):
    """What leads ranges here: see :class:`~towline.redirect.control.Redirect`."""

    async def add_routes(self, ranges: Iterable[Network]) -> Mapping[Network, str]:
        """Lead ranges to the session; gives why the kernel leads some of them not."""

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
        named: Named,
        kept_out: Iterable[Address] = (),
        excluded: Iterable[Network] = (),
    ) -> None:
        self.refused: dict[Network, str] = {}
        """What this machine's kernel does not lead here, and why."""
        self._routes = routes
        self._named = named
        self._wanted: dict[str, set[Network]] = {}
        self._led: Counter[Network] = Counter()  # each route, with how many want it
        self._networks = Networks()  # the same
        self._kept_out = set(map(ip_network, kept_out)) | set(excluded)
        self._nodes: frozenset[Network] = frozenset()
        self._shared: frozenset[Network] = frozenset()
        self._holes: dict[str, Holes] = {}
        self._turn = asyncio.Lock()

    def __contains__(self, address: Address) -> bool:
        """Whether an address is led to the session."""
        return self._networks.cover(address)

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
            wanted = set(networks)
            await self._alter(who, filter(leadable, wanted), self._wanted.get(who, set()) - wanted)

    async def add_addresses(self, addresses: Mapping[Address, float]) -> None:
        """Lead addresses here that a name of the cluster has, each for so many seconds.

        They are led for as long as they are used: see :class:`Named`.

        Not those that this machine reaches without a router: a name of the cluster that has
        the address of a node next to us, or of this machine itself, must not break what others
        have with that. It is another matter where the cluster has such a range itself.
        """
        async with self._turn:
            for address in filter(self._named.__contains__, addresses):
                self._named.keep(address, addresses[address])
            new = map(ip_network, filter(lambda address: address not in self, addresses))
            outside = self._holes_of(NAMED).out_of(filter(leadable, new))
            if led := self._distant(outside):
                await self._alter(NAMED, led, ())
                for network in led:
                    self._named.keep(network.network_address, addresses[network.network_address])

    async def drop_unused(self) -> None:
        """Lead those of them here no longer that nobody has used for their lifetime."""
        async with self._turn:
            await self._alter(NAMED, (), map(ip_network, self._named.drop_expired()))

    async def keep_out(self, addresses: Iterable[Address | Network]) -> None:
        """Give addresses their own way from now on, until the end."""
        new = set(map(ip_network, addresses)) - self._kept_out
        if new:
            async with self._turn:
                before = self._ways()
                self._kept_out |= new
                self._holes.clear()
                await self._change(self._ways(), before)

    async def spare(self, nodes: Iterable[Address], shared: Iterable[Network]) -> None:
        """Leave nodes alone, and what this machine has routes of its own to, as of now."""
        holes = frozenset(map(ip_network, nodes)), frozenset(shared)
        if holes != (self._nodes, self._shared):
            async with self._turn:
                before = self._ways()
                self._nodes, self._shared = holes
                self._holes.clear()
                await self._change(self._ways(), before)

    async def _alter(self, who: str, new: Iterable[Network], gone: Iterable[Network]) -> None:
        """Lead some more networks for somebody, and some no longer."""
        wanted = self._wanted.setdefault(who, set())
        new, gone = set(new) - wanted, wanted.intersection(gone)
        if new or gone:
            holes = self._holes_of(who)
            await self._change(holes.out_of(new), holes.out_of(gone))
            wanted -= gone
            wanted |= new

    def _distant(self, hosts: list[Network]) -> list[Network]:
        """Those of some hosts that this machine does not reach without a router."""
        if not hosts:
            return []
        with Rtnetlink() as kernel:
            return [
                host
                for host in hosts
                if _is_in(host.network_address, self._shared)
                or not kernel.is_near(host.network_address)
            ]

    def _holes_of(self, who: str) -> Holes:
        if who not in self._holes:
            self._holes[who] = Holes(self._kept_from(who))
        return self._holes[who]

    def _kept_from(self, who: str) -> set[Network]:
        if who == INCLUDED:
            return self._kept_out
        if who in _PRECISE:
            return self._kept_out | self._nodes
        return self._kept_out | self._nodes | self._shared

    def _ways(self) -> list[Network]:
        """The routes of all that is wanted."""
        return [
            way for who, some in self._wanted.items() for way in self._holes_of(who).out_of(some)
        ]

    async def _change(self, added: Iterable[Network], removed: Iterable[Network]) -> None:
        changes = Counter(added)
        changes.subtract(Counter(removed))
        changes = Counter({network: change for network, change in changes.items() if change})
        new = [net for net, change in changes.items() if change > 0 and net not in self._led]
        gone = [net for net, change in changes.items() if 0 < self._led[net] <= -change]
        # In this order nothing of the rest is without its way in between.
        if new:
            self.refused |= await self._routes.add_routes(new)
        if gone:
            await self._routes.remove_routes(gone)
        self._led.update(changes)
        for network in new:
            self._networks.add(network)
        for network in gone:
            del self._led[network]
            self._networks.discard(network)
            self.refused.pop(network, None)


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
