"""The doctor: what would not work here, told before it is tried, and what to do about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from towline.cluster import ranges
from towline.cluster.job import SELECTOR
from towline.dns.resolvconf import ResolvConfFile
from towline.kube.access import Right, missing_rights
from towline.kube.client import Client
from towline.kube.config import Access
from towline.kube.errors import ApiError, Forbidden
from towline.kube.resources import JOBS
from towline.redirect import conflicts, probes

NSSWITCH = Path("/etc/nsswitch.conf")
LISTED = 5


class Verdict(StrEnum):
    """What a finding means for `tow connect`."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `hint` says what to do when it is not ok."""

    name: str
    verdict: Verdict
    what: str
    hint: str = ""


def connect_rights(namespace: str) -> list[Right]:
    """What `tow connect` cannot do without, in its namespace, besides a way for the link."""
    return [
        Right("create", "batch", "jobs", namespace=namespace),
        Right("patch", "batch", "jobs", namespace=namespace),
        Right("delete", "batch", "jobs", namespace=namespace),
        Right("get", "", "pods", namespace=namespace),
        Right("list", "", "pods", namespace=namespace),
        Right("watch", "", "pods", namespace=namespace),
    ]


def link_rights(namespace: str, way: str) -> list[Right]:
    """What a link takes by one of its two ways: `portforward`, or `exec` instead."""
    return [Right(verb, "", "pods", way, namespace=namespace) for verb in ("get", "create")]


def useful_rights(namespace: str) -> list[Right]:
    """What makes `tow connect` better, and it does without."""
    return [
        Right("list", "", "events", namespace=namespace),
        Right("list", "networking.k8s.io", "servicecidrs"),
        Right("list", "", "nodes"),
    ]


async def check(access: Access) -> AsyncIterator[Finding]:
    """Look at this machine and at the cluster; one finding after the other, each when known."""
    for probe in await probes.probe_all():
        yield _of_probe(probe)
    yield _names()
    async with Client(access) as client:
        try:
            version = await client.get_raw("/version")
        except ApiError as error:
            yield Finding("cluster", Verdict.PROBLEM, error.summary, error.hint)
            return
        yield Finding("cluster", Verdict.OK, f"{access.server} answers ({len(version)} bytes)")
        async for finding in _rights(client, access.namespace):
            yield finding
        yield await _routes(client)
        yield await _leftovers(client, access.namespace)


def _of_probe(probe: probes.Probe) -> Finding:
    if probe.ok is None:
        verdict = Verdict.WARNING
    elif probe.ok:
        verdict = Verdict.WARNING if probe.hint else Verdict.OK
    else:
        verdict = Verdict.PROBLEM
    return Finding(probe.name, verdict, probe.what, probe.hint)


def _names() -> Finding:
    """Whether this machine's lookups can be led to the session's resolver."""
    servers = ResolvConfFile().current().nameservers
    asked = ", ".join(servers)
    if "resolve" in _hosts_line(NSSWITCH):
        return Finding(
            "dns",
            Verdict.WARNING,
            "programs ask systemd-resolved directly (nss-resolve), past the nameservers of "
            f"resolv.conf ({asked}): cluster names will not resolve in them",
            "Take 'resolve' out of the hosts line of /etc/nsswitch.conf; lookups then go through "
            "resolv.conf, to systemd-resolved's stub.",
        )
    if all("%" in server for server in servers):
        return Finding(
            "dns",
            Verdict.PROBLEM,
            f"the only nameservers are link-local ({asked}), which cannot be redirected",
            "Put a nameserver with another address into /etc/resolv.conf.",
        )
    return Finding("dns", Verdict.OK, f"lookups go to {asked}, and can be led to the session")


def _hosts_line(path: Path) -> list[str]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    return next((line.split() for line in lines if line.startswith("hosts:")), [])


async def _rights(client: Client, namespace: str) -> AsyncIterator[Finding]:
    needed, forward, instead, useful = await asyncio.gather(
        missing_rights(client, connect_rights(namespace)),
        missing_rights(client, link_rights(namespace, "portforward")),
        missing_rights(client, link_rights(namespace, "exec")),
        missing_rights(client, useful_rights(namespace)),
    )
    if instead:
        needed += forward
    elif forward:
        yield Finding(
            "rights",
            Verdict.WARNING,
            f"you may not {forward[0]}",
            "It works without, as you may run commands in pods: the link then costs a little more.",
        )
    for right in needed:
        yield Finding(
            "rights",
            Verdict.PROBLEM,
            f"you may not {right}",
            "Ask for the Role in docs/rights.md, or use another namespace with -n.",
        )
    for right in useful:
        yield Finding(
            "rights",
            Verdict.WARNING,
            f"you may not {right}",
            "It works without: ranges of addresses are then led here one by one, as names are "
            "looked up, and reasons for a slow start are not shown.",
        )
    if not needed:
        yield Finding("rights", Verdict.OK, f"you may do all that is needed in {namespace}")


async def _routes(client: Client) -> Finding:
    """Whether the cluster's ranges and this machine's own routes stand in each other's way."""
    found = await ranges.discover(client)
    clashes = conflicts.find(found, conflicts.read_routes())
    names = ", ".join(map(str, found)) or "unknown"
    if not clashes:
        return Finding("routes", Verdict.OK, f"the cluster's ranges ({names}) are free here")
    return Finding(
        "routes",
        Verdict.WARNING,
        _some(map(str, clashes)),
        "One of the two is not reachable while connected. If it is the wrong one, change the "
        "network or VPN that the route belongs to.",
    )


async def _leftovers(client: Client, namespace: str) -> Finding:
    """What agents there are; those of ended sessions remove themselves."""
    try:
        jobs = await client.list(JOBS, namespace=namespace, labels=SELECTOR)
    except Forbidden:
        return Finding("agents", Verdict.OK, f"the Jobs of {namespace} may not be listed")
    names = [job["metadata"]["name"] for job in jobs.items]
    if not names:
        return Finding("agents", Verdict.OK, f"no agent runs in {namespace}")
    return Finding("agents", Verdict.OK, f"running in {namespace}: {_some(names)}")


def _some(items: Iterable[str]) -> str:
    listed = list(items)
    more = len(listed) - LISTED
    return "; ".join(listed[:LISTED]) + (f"; and {more} more" if more > 0 else "")
