"""Keeps led into the link what the cluster has and the user wants, as both change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from towline.cluster.discovery import Discovery, is_covered
from towline.cluster.ranges import Kind, Network, Source, is_within
from towline.errors import RedirectError
from towline.features import findings
from towline.features.findings import Finding, Verdict
from towline.features.uplink.hosts import in_cluster
from towline.features.uplink.leads import INCLUDED, Leads, addresses_of, leadable, resolve
from towline.features.uplink.targets import NOTHING, Targets
from towline.kube.config import Access
from towline.link.link import Link
from towline.redirect import conflicts
from towline.redirect.conflicts import Conflict, Route

# This machine's routes and neighbours, and the addresses of hosts, are looked at so often;
# more often while there is no link, as the API server may be elsewhere now.
LOOK_SECONDS = 30.0
LOST_SECONDS = 2.0
# Changes come in crowds.
GATHER_SECONDS = 0.1
# A cluster may have thousands of addresses that are known one by one.
MOST_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user wants of the cluster's addresses, and besides."""

    include: Targets = NOTHING
    exclude: Targets = NOTHING
    pods: bool = True

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Whose ranges are led here."""
        return tuple(Kind) if self.pods else (Kind.SERVICES,)


class Capture:
    """Leads here what a cluster has, as far as it is known, and what the user wants besides.

    `pod` gives the name of the agent's pod, `told` is called with what stands in the way.
    """

    def __init__(
        self,
        access: Access,
        discovery: Discovery,
        leads: Leads,
        choice: Choice,
        pod: Callable[[], str],
        told: Callable[[Finding], None],
    ) -> None:
        self._access = access
        self._discovery = discovery
        self._leads = leads
        self._choice = choice
        self._pod = pod
        self._told = told
        self._said: set[str] = set()
        self._looked = 0.0  # loop time
        self._asked = ""  # the pod whose view is known
        self._routes: list[Route] = []
        self._hosts: dict[str, frozenset[Network]] = {}  # those that are included

    def status(self) -> dict[str, Any]:
        """What is led here, in as few ranges as possible, and how it is known; fit for JSON."""
        return {
            "ranges": _listed(self._leads.ranges),
            "captured": [
                {"source": who, "count": len(networks), "ranges": _listed(networks)}
                for who, networks in self._leads.sources.items()
            ],
        }

    async def look_around(self) -> None:
        """See what this machine has itself, before the link is there or while it lasts."""
        self._looked = asyncio.get_running_loop().time()
        with suppress(RedirectError):  # without `ip` there is nothing to say of routes
            self._routes = await asyncio.to_thread(conflicts.read_routes)
        near = await asyncio.to_thread(conflicts.read_near)
        await self._leads.keep_out(near | await addresses_of(self._access))
        for host in self._choice.exclude.hosts:
            await self._leads.keep_out(await resolve(host))

    async def begin(self, link: Link) -> None:
        """Lead here what is known now. The link is up. Raises RedirectError."""
        await self._look_through(link)
        await self._lead()

    async def follow(self, link: Link) -> None:
        """Go on with that for ever."""
        changed = self._discovery.changed
        while True:
            patience = LOOK_SECONDS if link.up else LOST_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await changed.wait()
                    await asyncio.sleep(GATHER_SECONDS)
            try:
                if asyncio.get_running_loop().time() - self._looked >= patience:
                    await self.look_around()
                    await self._look_through(link)
                    await self._leads.drop_unused()
                await self._lead()
            except RedirectError as error:
                self._tell(Finding("routes", Verdict.PROBLEM, error.summary, error.hint))

    async def _look_through(self, link: Link) -> None:
        """See what the agent does: hosts that are included, and its own pod if it is a new one."""
        if not link.up:
            return
        for host in self._choice.include.hosts:
            await self._look_up(link, host)
        if self._pod() != self._asked:
            self._asked = self._pod()
            await self._discovery.ask_agent(link.agent, self._asked, self._choice.kinds)

    async def _look_up(self, link: Link, host: str) -> None:
        """Note the addresses of a host; without an answer those that it had."""
        if addresses := await in_cluster(link, host):
            self._hosts[host] = frozenset(map(ip_network, addresses))
        elif host not in self._hosts:
            self._tell(findings.of_unknown_host(host))

    def _included(self) -> set[Network]:
        """What the user wants to be led here besides."""
        own = {route.network for route in self._routes}
        return set().union(_winning(self._choice.include.networks, own), *self._hosts.values())

    async def _lead(self) -> None:
        self._discovery.changed.clear()
        whole = self._networks(set(Source) - {Source.SEEN})
        unusable = {network for network in whole if not leadable(network)}
        if unusable:
            self._tell(findings.of_unusable(unusable))
        clashes = conflicts.find(whole - unusable, self._routes)
        told = [clash for clash in clashes if not self._is_decided(clash)]
        hidden = [clash for clash in told if not clash.cluster_wins]
        for kind in self._choice.kinds if hidden else ():
            await self._discovery.see(kind)
        shared = {clash.shared for clash in clashes if not clash.cluster_wins}
        await self._leads.spare(self._discovery.nodes, shared)
        await self._leads.hold(INCLUDED, self._included())
        for source in Source:
            networks = self._networks({source})
            if source is Source.SEEN:
                networks = {
                    net for net in networks if _is_in(net, shared) or not is_covered([net], whole)
                }
            await self._leads.hold(source, networks)
        if hidden:
            self._tell_of_shared(hidden)
        self._tell_of_covered([clash for clash in told if clash.cluster_wins])
        if self._leads.refused:
            self._tell(findings.of_refused(self._leads.refused))

    def _networks(self, sources: Iterable[Source]) -> set[Network]:
        """What some sources say of what the user wants."""
        answers = self._discovery.answers.values()
        some = [each for each in answers if each.source in sources]
        wanted = (each.networks for each in some if each.kind in self._choice.kinds)
        return set().union(*wanted)

    def _is_decided(self, clash: Conflict) -> bool:
        """Whether the user has said whose the shared addresses are to be."""
        named = self._choice.include.networks | self._choice.exclude.networks
        return not conflicts.without([clash.shared], named)

    def _tell_of_shared(self, clashes: list[Conflict]) -> None:
        shared = {clash.shared for clash in clashes}
        seen = {net for net in self._networks({Source.SEEN}) if _is_in(net, shared)}
        answers = self._discovery.answers
        asked = (answers.get((Source.SEEN, kind)) for kind in self._choice.kinds)
        whys = [answer.why for answer in asked if answer and answer.why]
        about = " ".join(sorted(map(str, clashes)))
        self._tell(findings.of_shared(clashes, seen, whys), about)

    def _tell_of_covered(self, clashes: list[Conflict]) -> None:
        # That single addresses are the cluster's is known, and nobody's surprise.
        clashes = [clash for clash in clashes if clash.shared.num_addresses > 1]
        if clashes:
            # Not again for each node that comes with a range of its own.
            about = " ".join(sorted({f"over {clash.route.network}" for clash in clashes}))
            self._tell(findings.of_covered(clashes), about)

    def _tell(self, finding: Finding, about: str = "") -> None:
        """Tell something, once for all that it is about."""
        about = about or finding.what
        if about not in self._said:
            self._said.add(about)
            self._told(finding)


def _listed(networks: list[Network]) -> list[str]:
    return list(map(str, networks[:MOST_LISTED]))


def _winning(networks: Iterable[Network], own: set[Network]) -> Iterable[Network]:
    """The same networks, in halves where this machine has a route to just the same."""
    for network in networks:
        if network in own and network.prefixlen < network.max_prefixlen:
            yield from network.subnets()
        else:
            yield network


def _is_in(network: Network, others: Iterable[Network]) -> bool:
    return any(is_within(network, other) for other in others)
