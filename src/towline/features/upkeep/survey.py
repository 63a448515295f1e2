"""What sessions of anybody have in the cluster: their agents, and the objects that they changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from towline.agent.undo import AGENT_LABEL, LABELS, Record, is_marked, of
from towline.cluster.job import OWNER, PREFIX, SELECTOR, SINCE, changed_by, is_ours
from towline.features.reference import Reference
from towline.kube.access import Right
from towline.kube.client import Client
from towline.kube.errors import Forbidden
from towline.kube.resources import (
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
    Object,
    Resource,
)

#: What an interception may have changed.
CHANGED = (SERVICES, DEPLOYMENTS, STATEFUL_SETS)
#: What runs pods of its own.
WORKLOADS = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS)
#: What goes with an agent, of its name.
COMPANIONS = (SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS)


@dataclass(frozen=True, slots=True)
class Held:
    """An object that an agent's session has changed; `record` is None if somebody removed it."""

    target: Reference
    thing: Object
    agent: str
    record: Record | None


@dataclass(slots=True)
class Agent:
    """What there is of one agent: its Job, its pods, what it holds, and what goes with it."""

    namespace: str
    name: str
    job: Object | None = None
    pods: list[Object] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    companions: list[tuple[Resource, Object]] = field(default_factory=list)

    @property
    def owner(self) -> str:
        """Whose it is, as user@host; "" if nothing tells."""
        return self._told("owner", OWNER)

    @property
    def since(self) -> str:
        """Since when it is there, as its session tells; "" if nothing does."""
        return self._told("since", SINCE)

    @property
    def began(self) -> str:
        """Since when it is there, as the cluster tells, else its session."""
        things = [self.job, *self.pods, *(thing for _, thing in self.companions)]
        ages = [thing["metadata"].get("creationTimestamp", "") for thing in things if thing]
        return min(filter(None, ages), default=self.since)

    @property
    def preview(self) -> Object | None:
        """The Service that leads to it, of a preview."""
        for resource, thing in self.companions:
            if resource == SERVICES and _agent_of_selector(thing) == self.name:
                return thing
        return None

    @property
    def target(self) -> str:
        """What it is about, as `svc/web`; "" for none, and for what is not known."""
        for held in self.held:
            return str(held.target)
        if self.preview is not None:
            return str(Reference(SERVICES, self.preview["metadata"]["name"]))
        changed = changed_by(self.job) if self.job else None
        return str(Reference.at(changed.path) or "") if changed else ""

    @property
    def may_put_back(self) -> bool:
        """Whether it may put back itself what its session has changed."""
        pod = self.job["spec"]["template"]["spec"] if self.job else {}
        return pod.get("serviceAccountName") == self.name

    @property
    def is_going(self) -> bool:
        """Whether it holds nothing, and Kubernetes is about to remove what is left of it."""
        things = [*self.pods, *(thing for _, thing in self.companions)]
        owned = ("ownerReferences", "deletionTimestamp")
        orphans = [each for each in things if not any(map(each["metadata"].get, owned))]
        return not (self.job or self.held or orphans)

    def _told(self, key: str, annotation: str) -> str:
        """What the first says of what there is: a record, or something that was made."""
        for held in self.held:
            if held.record is not None:
                return str(getattr(held.record, key))
        for thing in (self.job, *self.pods, self.preview):
            if thing and (told := (thing["metadata"].get("annotations") or {}).get(annotation)):
                return str(told)
        return ""


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found, and the rights whose want left something out.

    `others` are services, and workloads if they were asked for, that sessions have not made.
    """

    agents: Sequence[Agent]
    pods: Sequence[Object]
    others: Sequence[tuple[Resource, Object]]
    missing: Sequence[Right]


async def survey(
    client: Client,
    namespace: str | None,
    *,
    companions: bool = False,
    all_pods: bool = False,
    all_workloads: bool = False,
) -> Survey:
    """Look at a namespace, or at all for None, as far as the user may.

    `companions` asks also for what goes with an agent besides services, `all_pods` for pods that
    are none of ours, `all_workloads` for those that no session has changed. Raises ApiError.
    """
    looking = _Looking(client, namespace)
    # An agent is there before what it changes says so: who finds the latter finds the former.
    workloads = (
        looking.look(*WORKLOADS)
        if all_workloads
        else looking.look(DEPLOYMENTS, STATEFUL_SETS, labels=LABELS["job"])
    )
    await asyncio.gather(looking.look(SERVICES), workloads)
    await looking.look(*(COMPANIONS if companions else ()), labels=SELECTOR)
    await looking.look(JOBS, labels=SELECTOR)
    # Not by the label of all that is ours: a pod may have a workload's labels over its own.
    await looking.look(PODS, labels="" if all_pods else AGENT_LABEL)
    found = looking.found
    return Survey(_agents(found), found.get(PODS, ()), _others(found), looking.missing)


class _Looking:
    def __init__(self, client: Client, namespace: str | None) -> None:
        self.found: dict[Resource, list[Object]] = {}
        self.missing: list[Right] = []
        self._client = client
        self._namespace = namespace

    async def look(self, *resources: Resource, labels: str = "") -> None:
        """List objects of some kinds at once; take note of what may not be listed."""
        asked = [
            self._client.list(each, namespace=self._namespace, labels=labels) for each in resources
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for resource, answer in zip(resources, answers, strict=True):
            if isinstance(answer, Forbidden):
                self.missing.append(list_right(resource, self._namespace))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                self.found[resource] = answer.items


def list_right(resource: Resource, namespace: str | None) -> Right:
    """What it takes to list objects of a kind."""
    return Right("list", resource.group, resource.plural, namespace=namespace or "")


def held(resource: Resource, thing: Object) -> Held | None:
    """The object as one that a session has changed; None if none has."""
    record = of(thing)
    agent = record.job if record else _agent_of_selector(thing) if resource == SERVICES else ""
    if not agent or is_ours(thing):
        return None
    return Held(Reference(resource, thing["metadata"]["name"]), thing, agent, record)


def has_unreadable_record(thing: Object) -> bool:
    """Whether the record of an object is there, and is of no use."""
    return of(thing) is None and is_marked(thing)


def _agents(found: Mapping[Resource, Sequence[Object]]) -> list[Agent]:
    agents: dict[tuple[str, str], Agent] = {}

    def agent(thing: Object, name: str) -> Agent:
        namespace = thing["metadata"]["namespace"]
        return agents.setdefault((namespace, name), Agent(namespace, name))

    for job in found.get(JOBS, ()):
        agent(job, job["metadata"]["name"]).job = job
    for pod in found.get(PODS, ()):
        name = (pod["metadata"].get("labels") or {}).get(AGENT_LABEL, "")
        if name.startswith(PREFIX):
            agent(pod, name).pods.append(pod)
    for resource in CHANGED:
        for each in found.get(resource, ()):
            if there := held(resource, each):
                agent(each, there.agent).held.append(there)
    for resource, companion, name in _companions(found):
        agent(companion, name).companions.append((resource, companion))
    return [agents[key] for key in sorted(agents)]


def _others(found: Mapping[Resource, Sequence[Object]]) -> list[tuple[Resource, Object]]:
    kinds = (SERVICES, *WORKLOADS)
    return [(kind, each) for kind in kinds for each in found.get(kind, ()) if not is_ours(each)]


def _companions(
    found: Mapping[Resource, Sequence[Object]],
) -> Iterator[tuple[Resource, Object, str]]:
    """What goes with an agent, and its agent's name: its own one, but for a preview's service."""
    for resource in (SERVICES, *COMPANIONS):
        for thing in filter(is_ours, found.get(resource, ())):
            name = _agent_of_selector(thing) if resource == SERVICES else ""
            name = name or (thing["metadata"].get("labels") or {}).get(AGENT_LABEL, "")
            name = name or thing["metadata"]["name"]
            if name.startswith(PREFIX):
                yield resource, thing, name


def _agent_of_selector(service: Object) -> str:
    selector = service["spec"].get("selector") or {}
    return str(selector.get(AGENT_LABEL, ""))
