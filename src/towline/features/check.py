"""The doctor: what would not work here, told before it is tried, and what to do about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

from towline.cluster.discovery import Discovery
from towline.cluster.ranges import Kind, merge
from towline.dns.resolvconf import ResolvConfFile
from towline.features import findings
from towline.features.findings import Finding, Verdict, some
from towline.features.rights import agent_rights, link_rights
from towline.features.upkeep.listing import Entry, listing
from towline.kube.access import Right, missing_rights
from towline.kube.client import Client
from towline.kube.config import Access
from towline.kube.errors import ApiError
from towline.redirect import conflicts, probes, resolved
from towline.redirect.resolved import ResolvedError


def useful_rights(namespace: str) -> list[Right]:
    """What makes `tow connect` better, and it does without."""
    return [
        Right("list", "", "events", namespace=namespace),
    ]


async def check(access: Access) -> AsyncIterator[Finding]:
    """Look at this machine and at the cluster; one finding after the other, each when known."""
    for probe in await probes.probe_all():
        yield _of_probe(probe)
    conf = ResolvConfFile().current()
    yield findings.of_names(conf)
    if findings.asks_resolved(conf):
        yield await _resolved()
    async with Client(access) as client:
        try:
            version = _version(await client.get_raw("/version"))
        except ApiError as error:
            yield Finding("cluster", Verdict.PROBLEM, error.summary, error.hint)
            return
        yield Finding("cluster", Verdict.OK, f"{access.server} answers: {version}")
        async for finding in _rights(client, access.namespace):
            yield finding
        async for finding in _ranges(client, access.namespace):
            yield finding
        yield await _agents(client, access.namespace)


def _version(answer: bytes) -> str:
    with suppress(ValueError, KeyError, TypeError):
        return f"Kubernetes {json.loads(answer)['gitVersion']}"
    return "not as a Kubernetes API does"


def _of_probe(probe: probes.Probe) -> Finding:
    if probe.ok is None:
        verdict = Verdict.WARNING
    elif probe.ok:
        verdict = Verdict.WARNING if probe.hint else Verdict.OK
    else:
        verdict = Verdict.PROBLEM
    return Finding(probe.name, verdict, probe.what, probe.hint)


async def _resolved() -> Finding:
    try:
        return findings.of_resolved(await asyncio.to_thread(resolved.guards))
    except ResolvedError as error:
        return findings.of_unwilling_resolved(str(error))


async def _rights(client: Client, namespace: str) -> AsyncIterator[Finding]:
    needed, forward, instead, useful = await asyncio.gather(
        missing_rights(client, agent_rights(namespace)),
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
    hint = "Ask for the Role in docs/rights.md, or use another namespace with -n."
    if not instead:
        hint += " As you may run commands in pods, 'tow connect --via POD' may do."
    for right in needed:
        yield Finding("rights", Verdict.PROBLEM, f"you may not {right}", hint)
    for right in useful:
        yield Finding(
            "rights",
            Verdict.WARNING,
            f"you may not {right}",
            "It works without, but reasons for a slow start are not shown.",
        )
    if not needed:
        yield Finding("rights", Verdict.OK, f"you may do all that is needed in {namespace}")


async def _ranges(client: Client, namespace: str) -> AsyncIterator[Finding]:
    """What would be led to the cluster, and what of this machine is in its way."""
    async with Discovery(client, namespace) as discovery:
        await discovery.ask()
        for kind in Kind:
            answers = [answer for answer in discovery.answers.values() if answer.kind is kind]
            yield findings.of_ranges(kind, answers)
        found = merge(net for kind in Kind for net in discovery.networks(kind))
    yield findings.of_routes(found, conflicts.find(found, conflicts.read_routes()))


async def _agents(client: Client, namespace: str) -> Finding:
    """Who has what there."""
    found = await listing(client, namespace)
    if not found.entries:
        unseen = f", as far as you see: you may not {found.missing[0]}" if found.missing else ""
        return Finding("agents", Verdict.OK, f"no agent runs in {namespace}{unseen}")
    return Finding("agents", Verdict.OK, f"in {namespace}: {some(map(_what, found.entries))}")


def _what(entry: Entry) -> str:
    about = f" of {entry.target}" if entry.target else ""
    whose = f" by {entry.owner}, since {entry.since}" if entry.owner else ""
    agent = " ".join(filter(None, (entry.agent, entry.state)))
    return f"{entry.command}{about}{whose} ({agent})"
