"""Takes a service's traffic by its selector: it leads to an agent, a twin to the original pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from towline.agent.intercept import Intercepted
from towline.agent.undo import AGENT_LABEL, Record
from towline.agent.undoing import Changed
from towline.cluster import interception, restorer, service, sidecar
from towline.cluster.interception import Interception
from towline.cluster.job import AgentSpec, is_ours, now
from towline.errors import SessionError, UsageError
from towline.features.downlink import ports
from towline.features.downlink.ports import ServicePort
from towline.features.downlink.takeover import Takeover, Wanted
from towline.features.rights import agent_rights, object_rights, require
from towline.kube.access import Right
from towline.kube.client import Client
from towline.kube.resources import PODS, SERVICES, Object
from towline.wire.target import Port, Target

# Clients of a headless service ask for its pods' addresses, and remember them for as long as the
# cluster's DNS says: with kubeadm's CoreDNS 30 s.
REMEMBERED_SECONDS = 35


def rights(namespace: str, name: str) -> list[Right]:
    """What it takes, besides a way for the link."""
    return [
        *agent_rights(namespace),
        *object_rights(SERVICES, namespace, name),
        Right("create", "", "services", namespace=namespace),
    ]


async def prepare(client: Client, namespace: str, wanted: Wanted) -> Takeover:
    """Look at the service. Raises UsageError when it cannot be taken, SessionError when somebody
    has it, AccessError for a right that is missing, ApiError.
    """
    name, agent = wanted.target.name, replace(wanted.agent, role=wanted.command)
    await require(client, namespace, rights(namespace, name))
    found = await client.get(SERVICES, name, namespace=namespace)
    holder = interception.holder(found)
    if holder is not None and not wanted.force:
        raise interception.held_by(str(wanted.target), holder)
    selector = interception.selector(found)
    refuse_if_unfit(found, selector)
    served = ports.of_service(found, await pods(client, found, selector))
    record = Record(agent.name, agent.owner, now(), selector=selector)
    agent = replace(agent, sidecar=await sidecar.of_pods(client, namespace, labels(selector)))
    account = agent.pod.service_account
    may_undo = await restorer.may_be_made(client, namespace, SERVICES, name, account=account)
    return Takeover(
        _BySelector(Interception(client, SERVICES, found, record, str(wanted.target))),
        served,
        _spec(agent, found, served, record, may_undo=may_undo),
        wanted.otherwise,
        notes(found, may_undo=may_undo),
        service.addresses(found),
    )


async def pods(client: Client, found: Object, selector: Mapping[str, str]) -> list[Object]:
    """The original pods, as far as it takes them to know the ports: there may be thousands."""
    if not ports.has_names(found):
        return []
    namespace = found["metadata"]["namespace"]
    return (await client.list(PODS, namespace=namespace, labels=labels(selector))).items


def labels(selector: Mapping[str, str]) -> str:
    """A selector as the API has it in queries."""
    return ",".join(f"{key}={value}" for key, value in selector.items())


class _BySelector:
    """A service that leads to whatever pod the agent has, by a label that each of them has."""

    def __init__(self, interception: Interception) -> None:
        self._interception = interception

    async def begin(self, _: str) -> None:
        await self._interception.begin()

    async def follow(self, _: str) -> None:
        """The service does."""

    async def end(self) -> None:
        await self._interception.end()

    async def disturbed(self) -> SessionError:
        return await self._interception.disturbed()


def _spec(
    agent: AgentSpec,
    found: Object,
    served: Sequence[ServicePort],
    record: Record,
    *,
    may_undo: bool,
) -> AgentSpec:
    namespace, name = found["metadata"]["namespace"], found["metadata"]["name"]
    originals: dict[Port, Target] = {}
    for each in served:
        originals.setdefault(each.listen, Target(agent.name, each.port.number))
    twin = service.twin(found, record.selector or {}, agent.name, opaque=agent.sidecar is not None)
    account = agent.pod.service_account
    helpers = restorer.companions(agent.name, namespace, SERVICES, name, account=account)
    return replace(
        agent,
        intercepted=tuple(Intercepted(port, to) for port, to in originals.items()),
        port_names={each.listen: each.target_name for each in served if each.target_name},
        companions=((SERVICES, twin), *(helpers if may_undo else ())),
        changed=Changed(SERVICES.path(namespace, name), record),
        may_undo=may_undo,
        linger_seconds=linger_seconds(found),
    )


def refuse_if_unfit(found: Object, selector: Mapping[str, str]) -> None:
    """Raise UsageError or SessionError unless a service's selector could lead elsewhere."""
    name, spec = found["metadata"]["name"], found["spec"]
    if spec.get("type") == "ExternalName":
        raise UsageError(
            f"The service {name} is only another name for {spec.get('externalName')}: no traffic "
            "goes through it.",
            "Intercept the service that the name stands for, if it is in this cluster.",
        )
    if not selector:
        raise UsageError(
            f"The service {name} has no selector: somebody writes its endpoints by hand, and "
            "there is nothing that could be led here and back.",
            "Intercept the workload behind it, as in 'tow exchange deploy/NAME'.",
        )
    if not spec.get("ports"):
        raise UsageError(f"The service {name} has no ports.")
    if AGENT_LABEL in selector and not is_ours(found):
        # Whoever took it for the original one would put it back at the end.
        raise SessionError(
            f"The service {name} leads to an agent, and its record of what it was is gone.",
            f"Put it right with 'tow recover svc/{name}'.",
        )


def linger_seconds(found: Object) -> int:
    """For how long clients of a service may go on to come to the agent after its end."""
    return REMEMBERED_SECONDS if found["spec"].get("clusterIP") == "None" else 0


def notes(found: Object, *, may_undo: bool) -> list[str]:
    """What the user should know: what will be otherwise than usual."""
    name, spec = found["metadata"]["name"], found["spec"]
    said = []
    if not may_undo:
        said.append(
            "You may not make Roles here: should this session vanish, the agent goes on passing "
            f"all to the original pods, but stays, until somebody runs 'tow recover svc/{name}'."
        )
    if spec.get("clusterIP") == "None":
        said.append(
            f"{name} is headless: meanwhile it has one address, the agent's, and the names of its "
            "single pods are not resolved. With --mode ephemeral they are. Clients remember the "
            f"agent's address: it stays for {REMEMBERED_SECONDS} s after the end, for them."
        )
    if spec.get("externalTrafficPolicy") == "Local":
        said.append(
            "externalTrafficPolicy is Local: from outside the service is reached through the "
            "agent's node only."
        )
    if spec.get("internalTrafficPolicy") == "Local":
        said.append(
            "internalTrafficPolicy is Local: only clients on the agent's node reach the service."
        )
    return said
