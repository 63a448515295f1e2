"""The session as systemd-resolved's nameserver, at the device: for programs that ask that."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from towline.dns.linkresolver import SHORT, LinkResolver
from towline.dns.policy import ClusterNames
from towline.errors import RedirectError
from towline.features.findings import Finding, of_resolved, of_unwilling_resolved
from towline.redirect import resolved
from towline.redirect.control import Redirect
from towline.redirect.resolved import ResolvedError

# Of all names, since any may be NAME.NAMESPACE. What other links have for domains of their own,
# such as a VPN's, goes before (resolved.conf(5), "Domains").
_ALL = ("~.",)
# The last labels by which names are the cluster's and not the world's.
_OURS = ("~svc", "~pod")
# The end waits so long for the last answers, which is longer than most take.
FINISH_SECONDS = 1.0


class LinkDns:
    """The device's DNS settings, by which `resolver` is asked."""

    def __init__(self, redirect: Redirect, names: ClusterNames, resolver: LinkResolver) -> None:
        self._redirect = redirect
        self._names = names
        self._resolver = resolver
        self._is_set = False

    async def set(self) -> Finding:
        """Give the settings to systemd-resolved, for as long as the device is there.

        Raises RedirectError only if the helper is gone.
        """
        try:
            guards = await asyncio.to_thread(resolved.guards)
            await self._redirect.set_link_dns(domains(self._names, guards), self._resolver.port)
        except ResolvedError as error:
            return of_unwilling_resolved(str(error))
        except RedirectError as error:
            if self._redirect.lost.is_set():
                raise
            return of_unwilling_resolved(error.summary)
        self._is_set = True
        return of_resolved(guards)

    async def end(self) -> None:
        """Take them back, and answer what was asked: lookups do not end with the device."""
        if self._is_set:
            with suppress(RedirectError):
                await self._redirect.set_link_dns((), self._resolver.port)
                await self._resolver.finish(FINISH_SECONDS)


def domains(names: ClusterNames, guards: list[str]) -> list[str]:
    """List the domains for which the session is asked.

    What is guarded for the world (DNSSEC, DNS over TLS) is left to systemd-resolved.
    """
    inside = [f"~{str(each).lower()}" for each in (names.domain, *names.inside)]
    return [*(_OURS if guards else _ALL), *inside, str(SHORT)]
