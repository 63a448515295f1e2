"""Who has what in the cluster: the interceptions, previews and agents of all sessions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from towline.cluster import podstate
from towline.cluster.job import ROLE, changed_by
from towline.cluster.sharing import SHARED
from towline.cluster.tenants import tenants
from towline.features.reference import Reference
from towline.features.upkeep import presence
from towline.features.upkeep.presence import in_words, state
from towline.features.upkeep.survey import Agent, survey
from towline.kube.access import Right
from towline.kube.client import Client
from towline.kube.resources import PODS, Object
from towline.routing.table import Participant, Table

# The roles of agents whose commands have other names.
_COMMANDS = {"uplink": "connect", SHARED: ""}


@dataclass(frozen=True, slots=True)
class Entry:
    """What one session has: `target` is "" for none, `agent` the pod, `mode` how it is taken.

    If several share a service, that is by which rules; `shared` if they share an agent.
    """

    namespace: str
    target: str
    command: str
    mode: str
    owner: str
    since: str
    agent: str
    state: str


@dataclass(frozen=True, slots=True)
class Listing:
    """All that could be found, and the rights whose want left something out."""

    entries: Sequence[Entry]
    missing: Sequence[Right]


async def listing(client: Client, namespace: str | None) -> Listing:
    """Look at a namespace, or at all for None, as far as the user may. Raises ApiError."""
    found = await survey(client, namespace, all_pods=True)
    entries = [entry for agent in found.agents for entry in await parts(client, agent)]
    entries += [entry for pod in found.pods for entry in _in_pod(pod)]
    return Listing(sorted(entries, key=lambda each: (each.namespace, each.target)), found.missing)


def participants(agent: Agent) -> list[Participant]:
    """Who shares what an agent holds, but for who is about to leave; none if nobody shares it."""
    for held in agent.held:
        if held.record is not None and held.record.mesh is not None:
            with contextlib.suppress(ValueError):
                return list(Table.from_values(held.record.mesh).present())
    return []


async def parts(client: Client, agent: Agent) -> list[Entry]:
    """What the session of an agent has, or each of those that share it."""
    whole = of_agent(agent)
    if whole.mode == SHARED:
        users = await presence.users(client, agent) or ()
        each_of = [
            replace(whole, command=user["command"], owner=user["who"], since=user["since"])
            for user in users
        ]
        return each_of or [whole]
    people = participants(agent)
    return [_of_participant(whole, each) for each in people] if people else [whole]


def _of_participant(whole: Entry, each: Participant) -> Entry:
    return replace(
        whole,
        command="mirror" if each.copy else "mesh",
        mode=" or ".join(map(str, each.match)),
        owner=each.owner,
        since=each.since,
    )


def of_agent(agent: Agent) -> Entry:
    """What the session of an agent has."""
    return Entry(
        namespace=agent.namespace,
        target=agent.target,
        command=_command(agent),
        mode=_mode(agent),
        owner=agent.owner,
        since=agent.since,
        agent=agent.pods[0]["metadata"]["name"] if agent.pods else "",
        state=_state(agent),
    )


def _command(agent: Agent) -> str:
    role = _role(agent)
    return _COMMANDS.get(role, role)


def _role(agent: Agent) -> str:
    for thing in (agent.job, *agent.pods, agent.preview):
        if thing and (role := (thing["metadata"].get("labels") or {}).get(ROLE)):
            return str(role)
    return "exchange"


def _mode(agent: Agent) -> str:
    if _role(agent) == SHARED:
        return SHARED
    records = [held.record for held in agent.held if held.record]
    if agent.job and (changed := changed_by(agent.job)):
        records.append(changed.record)
    for record in records:
        return "selector" if record.selector is not None else "scale"
    return ""


def _state(agent: Agent) -> str:
    """How the pod is; and if it should have an object, but does not, that, too."""
    told = state(agent)
    intercepts = agent.job is not None and changed_by(agent.job) is not None
    return f"{told}, without traffic" if intercepts and not agent.held else told


def _in_pod(pod: Object) -> Iterator[Entry]:
    """Agents beside the containers of a pod, which is somebody else's."""
    about = pod["metadata"]
    for tenant in tenants(pod):
        yield Entry(
            namespace=about["namespace"],
            target=str(Reference(PODS, about["name"])),
            command=tenant.command,
            mode="ephemeral",
            owner=tenant.owner,
            since=tenant.since,
            agent=about["name"],
            state=in_words(podstate.of_ephemeral(pod, tenant.container)),
        )
