"""This machine's lookups, led to a resolver that asks the cluster, while a session lasts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple, TypeVar

from towline.cluster.ranges import Address
from towline.dns.counts import Counts
from towline.dns.linkresolver import LinkResolver
from towline.dns.policy import ClusterNames, Policy, addresses
from towline.dns.resolvconf import ResolvConf, ResolvConfFile
from towline.dns.resolver import Resolver
from towline.dns.upstream import Upstream
from towline.errors import RedirectError
from towline.features.findings import (
    Finding,
    Verdict,
    asks_resolved,
    is_link_local,
    of_names,
    of_silence,
)
from towline.features.uplink.leads import Leads
from towline.features.uplink.linkdns import FINISH_SECONDS, LinkDns
from towline.link.link import Link
from towline.redirect.control import Redirect
from towline.redirect.ruleset import LINK_SERVER
from towline.relay.request import StreamReset, request
from towline.wire import dns
from towline.wire.frames import Kind, Reason

_R = TypeVar("_R", bound=Resolver)

RESOLVE_SECONDS = 6.0
# A lookup waits so long for a link that is coming back, which is less than programs wait for it.
PATIENCE_SECONDS = 3.0
# A network or VPN that changes the nameservers takes longer itself.
FOLLOW_SECONDS = 1.0

_ADDRESS_TYPES = (dns.Type.A, dns.Type.AAAA)

# Where those who put a local nameserver into resolv.conf keep the ones that it asks.
BEHIND_RESOLVED = Path("/run/systemd/resolve/resolv.conf")
BEHIND_NETWORK_MANAGER = Path("/run/NetworkManager/no-stub-resolv.conf")


class Nameservers:
    """The nameservers of this machine as its files say now."""

    def __init__(self) -> None:
        self.conf = ResolvConfFile()
        self._behind_resolved = ResolvConfFile(BEHIND_RESOLVED)
        self._all = [self.conf, self._behind_resolved, ResolvConfFile(BEHIND_NETWORK_MANAGER)]

    def asked(self) -> list[Address]:
        """Those that programs ask, as far as that can be led elsewhere."""
        return _hosts(self.conf)

    def all(self) -> set[Address]:
        """Those, and the ones that a local nameserver asks in turn."""
        return {host for conf in self._all for host in _hosts(conf)}

    def behind_link(self) -> ResolvConf:
        """Whom to ask what systemd-resolved asks at the device, and the cluster has not.

        The next older session, or nobody, which is known at once; then those it would ask.
        """
        conf = self._behind_resolved.current()
        return replace(conf, nameservers=(str(LINK_SERVER), *conf.nameservers))

    def state(self) -> list[tuple[str, ...]]:
        """Something that differs when any of them has changed."""
        return [conf.current().nameservers for conf in self._all]


class Lookup(NamedTuple):
    """What became of a name.

    `asked` are the names for which the cluster may have been asked, `outside` says whether the
    machine's own nameservers were, too; `rcode` is the answer's (RFC 1035 §4.1.1).
    """

    asked: tuple[str, ...]
    outside: bool
    rcode: int
    addresses: tuple[Address, ...]


class Names:
    """The session's resolver, to which the machine's lookups go. Use :meth:`serve`.

    `told` is called with what stands in the way of lookups, whenever the nameservers change.
    Answers of the cluster are kept for `cache_seconds` at most.
    """

    def __init__(
        self,
        link: Link,
        redirect: Redirect,
        leads: Leads,
        nameservers: Nameservers,
        told: Callable[[Finding], None],
        *,
        cache_seconds: int = 0,
    ) -> None:
        self._link = link
        self._redirect = redirect
        self._leads = leads
        self._nameservers = nameservers
        self._told = told
        self._heard = False  # of the cluster's nameserver, or told that nothing is
        self._policy: Policy | None = None
        self._cache_seconds = cache_seconds
        self._resolvers: tuple[Resolver, ...] = ()

    def status(self) -> dict[str, int]:
        """What has been asked so far, as :class:`~towline.dns.counts.Counts` has it."""
        total = Counts().as_dict()
        for resolver in self._resolvers:
            for name, number in resolver.counts.as_dict().items():
                total[name] += number
        return total

    def forget(self) -> None:
        """Keep no answer any longer, as the link to who gave them is lost."""
        for resolver in self._resolvers:
            resolver.forget()

    @asynccontextmanager
    async def serve(self, names: ClusterNames) -> AsyncIterator[None]:
        """Inside, names of the cluster resolve."""
        conf = self._nameservers.conf
        self._policy = policy = Policy(
            names,
            in_ranges=self._leads.__contains__,
            laptop_search=lambda: conf.current().search,
        )
        for_programs = self._make(Resolver, policy, conf.current)
        for_link = self._make(LinkResolver, policy, self._nameservers.behind_link)
        self._resolvers = (for_programs, for_link)
        async with for_programs, for_link, asyncio.TaskGroup() as group:
            link_dns = LinkDns(self._redirect, names, for_link)
            state = self._nameservers.state()
            await self._capture(for_programs.port, link_dns)
            following = group.create_task(self._follow(state, for_programs.port, link_dns))
            try:
                yield
            finally:
                following.cancel()
                await self._release(for_programs, link_dns)

    def _make(self, kind: type[_R], policy: Policy, upstream: Callable[[], ResolvConf]) -> _R:
        return kind(
            ask_cluster=self._ask_cluster,
            ask_upstream=Upstream(upstream, factory=self._marked_socket).ask,
            policy=policy,
            on_answer=self._leads.add_addresses,
            cache_seconds=self._cache_seconds,
        )

    async def look_up(self, name: dns.Name) -> Lookup:
        """Look a name up as the machine's lookups are, while it is served."""
        assert self._policy is not None
        for_programs = self._resolvers[0]
        replies = [await self._resolved(for_programs, name, kind) for kind in _ADDRESS_TYPES]
        plan = self._policy.plan(dns.Question(name, dns.Type.A))
        asked = (*plan.candidates, *plan.late)
        # One family may have no records, and then says less than the other.
        rcode = min((each.rcode for each in replies), key=lambda it: it is not dns.Rcode.NOERROR)
        found = tuple(address for each in replies for address in addresses(each))
        return Lookup(tuple(str(each.name) for each in asked), plan.upstream, rcode, found)

    async def _resolved(self, resolver: Resolver, name: dns.Name, kind: int) -> dns.Message:
        query = dns.query(name, kind)
        # By TCP nothing is left out.
        answer = await resolver.answer(query.encode(), tcp=True)
        return dns.Message.parse(answer or dns.servfail(query).encode())

    async def _capture(self, port: int, link_dns: LinkDns) -> None:
        conf = self._nameservers.conf.current()
        self._tell(of_names(conf))
        await self._leads.keep_out(self._nameservers.all())
        await self._redirect.capture_dns(self._nameservers.asked(), port)
        if asks_resolved(conf):
            self._tell(await link_dns.set())

    async def _release(self, resolver: Resolver, link_dns: LinkDns) -> None:
        """Lead no lookup here any more, and answer what was asked: none fails for our end."""
        with suppress(RedirectError):
            await self._redirect.capture_dns((), resolver.port)
            await asyncio.gather(resolver.finish(FINISH_SECONDS), link_dns.end())

    def _tell(self, finding: Finding) -> None:
        if finding.verdict is not Verdict.OK:
            self._told(finding)

    async def _follow(self, state: object, port: int, link_dns: LinkDns) -> None:
        """Capture anew whenever the nameservers change, as with another network or a VPN."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            if (now := self._nameservers.state()) == state:
                continue
            state = now
            try:
                await self._capture(port, link_dns)
            except RedirectError as error:
                if self._redirect.lost.is_set():
                    return  # what ends the session tells of it
                self._told(Finding("dns", Verdict.PROBLEM, error.summary, error.hint))

    async def _ask_cluster(self, message: bytes) -> bytes:
        await self._link.ready(PATIENCE_SECONDS)
        try:
            answer = await request(self._link.peer, Kind.RESOLVE, message, RESOLVE_SECONDS)
        except StreamReset as reset:
            if reset.reason is Reason.TIMED_OUT and not self._heard:
                self._heard = True
                self._told(of_silence())
            raise
        self._heard = True
        return answer

    async def _marked_socket(self, family: int, kind: int) -> socket.socket:
        return await self._redirect.upstream_socket(
            socket.AddressFamily(family), socket.SocketKind(kind)
        )


def _hosts(conf: ResolvConfFile) -> list[Address]:
    servers = [text for text in conf.current().nameservers if not is_link_local(text)]
    return [address for text in servers if not (address := ip_address(text)).is_multicast]
