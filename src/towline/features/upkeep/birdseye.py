"""All services and workloads, and what sessions of anybody do with them: who, and is it there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from towline.cluster.controller import workload_of
from towline.cluster.tenants import Tenant, tenants
from towline.features.reference import Reference
from towline.features.upkeep.listing import of_agent, participants, parts
from towline.features.upkeep.presence import Presence, Whereabouts, ask, presence
from towline.features.upkeep.survey import Agent, survey
from towline.kube.access import Right, missing_rights
from towline.kube.client import Client
from towline.kube.resources import PODS, SERVICES, Object
from towline.routing.table import Participant


@dataclass(frozen=True, slots=True)
class Use:
    """What one session does with an object, as its command, mode and rules say.

    `agents` are the pods of its agent; `laptop` says whether the session is there, and `why` how
    that is known. What was `left` is nobody's any more, and does not go by itself.
    """

    command: str
    mode: str
    rules: tuple[str, ...]
    owner: str
    since: str
    agents: tuple[str, ...]
    laptop: Whereabouts
    why: str
    left: bool


@dataclass(frozen=True, slots=True)
class Sight:
    """An object of a namespace, and who does what with it; `target` is "" for who only connect."""

    namespace: str
    target: str
    uses: Sequence[Use]


@dataclass(frozen=True, slots=True)
class View:
    """All that could be seen, and the rights whose want left something out.

    For want of those in `unasked`, agents could not be asked whether their sessions are there.
    """

    sights: Sequence[Sight]
    missing: Sequence[Right]
    unasked: Sequence[Right]


# Where something is: its namespace and target.
_Place = tuple[str, str]
_Seen = list[tuple[_Place, Use]]


async def birdseye(client: Client, namespace: str | None) -> View:
    """Look at a namespace, or at all for None, as far as the user may. Raises ApiError."""
    found = await survey(client, namespace, all_pods=True, all_workloads=True)
    services = [thing for kind, thing in found.others if kind == SERVICES]
    told = await asyncio.gather(
        *(_of_agent(client, agent, services) for agent in found.agents if not agent.is_going),
        *(_of_group(client, *each) for each in _in_pods(found.pods)),
    )
    seen = [each for uses in told for each in uses]
    places: dict[_Place, list[Use]] = {
        (thing["metadata"]["namespace"], str(Reference(kind, thing["metadata"]["name"]))): []
        for kind, thing in found.others
    }
    for place, use in seen:
        places.setdefault(place, []).append(use)
    sights = [Sight(*place, _in_order(places[place])) for place in sorted(places)]
    return View(sights, found.missing, await _unasked(client, namespace, seen))


async def _of_agent(client: Client, agent: Agent, services: Sequence[Object]) -> _Seen:
    """What the session has whose agent is a pod of its own."""
    entry = of_agent(agent)
    where = await presence(client, agent)
    agents = tuple(pod["metadata"]["name"] for pod in agent.pods)
    place = (entry.namespace, entry.target)
    if people := participants(agent):
        return [(place, _of_participant(each, entry.mode, agents, where)) for each in people]
    joined = [] if entry.target else _joined(agent, services)
    uses = [
        Use(
            each.command,
            "manual" if joined else each.mode,
            (),
            each.owner,
            each.since,
            agents,
            where.session,
            where.why,
            left=where.gone and not agent.may_put_back,
        )
        for each in await parts(client, agent)
    ]
    targets = joined or [entry.target]
    return [((entry.namespace, target), use) for target in targets for use in uses]


def _joined(agent: Agent, services: Sequence[Object]) -> list[str]:
    """The services that lead to an agent's pod as to any of theirs, which nothing has changed."""
    labels = [(pod["metadata"].get("labels") or {}).items() for pod in agent.pods]
    return [
        str(Reference(SERVICES, service["metadata"]["name"]))
        for service in services
        if service["metadata"]["namespace"] == agent.namespace
        and (selector := service["spec"].get("selector"))
        and any(selector.items() <= each for each in labels)
    ]


def _of_participant(who: Participant, mode: str, agents: tuple[str, ...], where: Presence) -> Use:
    """One's part. Whoever does not come back is dropped by the others, so nothing is left."""
    if (
        where.session is Whereabouts.THERE
        and who.slots
        and where.away.issuperset(who.slots.values())
    ):
        where = Presence(Whereabouts.AWAY, "its agent has no link to it at the moment")
    return Use(
        "mirror" if who.copy else "mesh",
        mode,
        tuple(map(str, who.match)),
        who.owner,
        who.since,
        agents,
        where.session,
        where.why,
        left=False,
    )


# Whose agents in pods of a workload are one session's, as far as can be told.
_Whose = tuple[str, str, str, str]


def _in_pods(pods: Sequence[Object]) -> list[tuple[_Whose, list[tuple[str, Tenant]]]]:
    """The agents in pods of others, by namespace, target, owner and command."""
    found: dict[_Whose, list[tuple[str, Tenant]]] = {}
    for pod in pods:
        about = pod["metadata"]
        for tenant in tenants(pod):
            target = str(Reference(*(workload_of(pod) or (PODS, about["name"]))))
            whose = (about["namespace"], target, tenant.owner, tenant.command)
            found.setdefault(whose, []).append((about["name"], tenant))
    return list(found.items())


async def _of_group(client: Client, whose: _Whose, group: list[tuple[str, Tenant]]) -> _Seen:
    """What a session has whose agents are in others' pods; they end by themselves."""
    namespace, target, owner, command = whose
    running = [(pod, tenant.container) for pod, tenant in group if tenant.runs]
    where = Presence(Whereabouts.UNKNOWN, "its agents do not run yet")
    if running:
        where = await ask(client, namespace, running)
    use = Use(
        command,
        "ephemeral",
        (),
        owner,
        min(tenant.since for _, tenant in group),
        tuple(sorted({pod for pod, _ in group})),
        where.session,
        where.why,
        left=False,
    )
    return [((namespace, target), use)]


def _in_order(uses: Sequence[Use]) -> list[Use]:
    return sorted(uses, key=lambda use: (use.since, use.owner, use.command))


async def _unasked(client: Client, namespace: str | None, seen: _Seen) -> list[Right]:
    """The right to ask agents, if it is missing and would have told more."""
    if all(use.laptop is not Whereabouts.UNKNOWN for _, use in seen):
        return []
    return await missing_rights(
        client, [Right("get", "", "pods", "log", namespace=namespace or "")]
    )
