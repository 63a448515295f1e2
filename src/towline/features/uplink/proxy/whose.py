"""Whether a host is the cluster's, and so reached there, or the world's, and reached from here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from towline.cluster.ranges import Address, Network
from towline.dns.cache import Cache
from towline.dns.counts import Counts
from towline.dns.policy import Candidate, ClusterNames, Policy
from towline.dns.search import ClusterSearch
from towline.dns.verdicts import Verdicts
from towline.link.link import Link
from towline.relay.request import request
from towline.wire.dns import DnsError, Message, Name, Type, query
from towline.wire.frames import Kind

RESOLVE_SECONDS = 6.0
# A lookup waits so long for a link that is coming back.
PATIENCE_SECONDS = 3.0


class Unknown(Exception):  # noqa: N818
    """The cluster does not say whether it knows a name."""


class Whose:
    """Knows of each host whose it is.

    `ranges` gives the cluster's, as far as they are known; `kept_out` are what the link itself
    needs, and what is never to be reached there. With `everything`, the cluster is to reach all
    else but this machine itself.
    """

    def __init__(
        self,
        link: Link,
        group: asyncio.TaskGroup,
        names: ClusterNames,
        ranges: Callable[[], Iterable[Network]],
        kept_out: Iterable[Network],
        *,
        everything: bool,
        cache_seconds: int = 0,
    ) -> None:
        self._link = link
        self._group = group
        self._ranges = ranges
        self._kept_out = tuple(kept_out)
        self._everything = everything
        self._policy = Policy(names, in_ranges=self._is_inside)
        self._search = ClusterSearch(
            self._ask, self._spawn, Verdicts(), Cache(cache_seconds), Counts()
        )

    async def in_cluster(self, host: str) -> str | None:
        """What a host is to be called in the agent's pod; None if it is to be reached from here.

        Raises Unknown when the cluster cannot be asked.
        """
        with suppress(ValueError):
            address = ip_address(host)
            anywhere = self._everything and not address.is_loopback and self._is_free(address)
            return str(address) if anywhere or self._is_inside(address) else None
        try:
            name = Name.of(host)
        except DnsError:
            return None
        found = await self._name_in_cluster(host, name)
        is_own = _is_of_this_machine(host) or self._policy.is_outside(name)
        return host if found is None and self._everything and not is_own else found

    async def _name_in_cluster(self, host: str, name: Name) -> str | None:
        question = query(name, Type.A)
        plan = self._policy.plan(question.questions[0])
        # The world's names must not stand still with the cluster; others are nobody else's.
        brief = plan.shared and plan.upstream
        found = await self._find(question, plan.candidates, brief=brief)
        if found is None and not plan.upstream:
            return host  # it is nobody else's, and there it is said what is wrong
        if found is None and plan.late and not await _is_known_here(host):
            found = await self._find(question, plan.late, brief=brief)
        return found

    async def _find(
        self, question: Message, candidates: tuple[Candidate, ...], *, brief: bool
    ) -> str | None:
        if not candidates:
            return None
        outcome = await self._search.find(question, candidates, brief=brief)
        if outcome.found and outcome.candidate:
            # With the dot at its end, no search list makes another name of it.
            return f"{outcome.candidate.name}."
        if outcome.silent and not brief:
            raise Unknown
        return None

    def _is_inside(self, address: Address) -> bool:
        return self._is_free(address) and any(address in network for network in self._ranges())

    def _is_free(self, address: Address) -> bool:
        return not any(address in network for network in self._kept_out)

    async def _ask(self, message: bytes) -> bytes:
        await self._link.ready(PATIENCE_SECONDS)
        return await request(self._link.peer, Kind.RESOLVE, message, RESOLVE_SECONDS)

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self._group.create_task(coroutine)


def _is_of_this_machine(host: str) -> bool:
    return host.rstrip(".").lower().rpartition(".")[2] == "localhost"


async def _is_known_here(host: str) -> bool:
    with suppress(OSError):
        return bool(await asyncio.get_running_loop().getaddrinfo(host, None))
    return False
