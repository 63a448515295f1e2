"""Adds a pod to a workload's, marked as a version of it, whose traffic programs here answer.

No object of the cluster is changed: what leads requests to that version, or away from it, is for
the rules of a service mesh to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from towline.agent.intercept import Intercepted
from towline.agent.undo import AGENT_LABEL
from towline.cluster import interception, workload
from towline.cluster.job import OWNER, AgentSpec
from towline.cluster.sidecar import Sidecar
from towline.cluster.workload import SPREAD_SECONDS, BorrowedLabels
from towline.errors import SessionError, UsageError
from towline.features.downlink import ports
from towline.features.downlink.mark import VersionMark
from towline.features.downlink.ports import ServicePort
from towline.features.downlink.takeover import Takeover, Wanted
from towline.features.reference import Reference
from towline.features.rights import agent_rights, require
from towline.kube.access import Right
from towline.kube.client import Client
from towline.kube.resources import PODS, SERVICES, Object

OTHERWISE = "connections are reset"


def rights(target: Reference, namespace: str) -> list[Right]:
    """What it takes, besides a way for the link."""
    kind = target.resource
    return [
        *agent_rights(namespace),
        Right("get", kind.group, kind.plural, namespace=namespace, name=target.name),
        Right("patch", "", "pods", namespace=namespace),
    ]


async def prepare(client: Client, namespace: str, wanted: Wanted) -> Takeover:
    """Look at the target. Raises UsageError when it cannot be followed, SessionError when somebody
    has a pod with that mark, AccessError for a right that is missing, ApiError.
    """
    target, mark = wanted.target, wanted.mark
    assert mark
    await require(client, namespace, rights(target, namespace))
    found = await client.get(target.resource, target.name, namespace=namespace)
    pods = await _pods(client, namespace, target, found)
    template = _template(target, found, pods)
    served = _ports(target, found, pods, template, wanted.exposed)
    if not served:
        raise UsageError(f"{target} tells of no ports.", "Name them with --expose.")
    labels = {**workload.labels_of(template), mark.key: mark.value}
    others = await _others(client, namespace, labels)
    if others and not wanted.force:
        raise _taken(target, mark, others[0])
    return Takeover(
        Marked(BorrowedLabels(client, namespace, labels), [_job(each) for each in others]),
        served,
        _spec(wanted.agent, served, [*pods, template]),
        OTHERWISE,
        [note(target, mark)],
    )


class Marked:
    """A pod that is one of a workload's: a :class:`towline.features.downlink.takeover.Switch`.

    `rivals` are the Jobs whose pods have the same labels, and lose them.
    """

    def __init__(
        self,
        labels: BorrowedLabels,
        rivals: Sequence[str] = (),
        spread_seconds: float = SPREAD_SECONDS,
    ) -> None:
        self._labels = labels
        self._rivals = rivals
        self._spread_seconds = spread_seconds

    async def begin(self, pod: str) -> None:
        """Let the agent's pod be one."""
        await self._labels.put_on(pod)
        for job in self._rivals:
            await self._labels.take_from(job)

    async def follow(self, pod: str) -> None:
        """Let the agent's new pod be one."""
        await self._labels.put_on(pod)

    async def end(self) -> None:
        """Let it be none any more, and wait until that is known."""
        await self._labels.give_back(self._spread_seconds)

    async def disturbed(self) -> NoReturn:
        """Nothing that others change is relied on."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError("it never ends")


def note(target: Reference, mark: VersionMark) -> str:
    """What the user has to do about it."""
    return (
        f"The agent's pod has the labels of the pods of {target}, and {mark}. It is one more of "
        "them: a share of all requests comes here, unless rules of your service mesh lead them by "
        "that label. docs/istio.md has an example."
    )


async def _pods(client: Client, namespace: str, target: Reference, found: Object) -> list[Object]:
    """The original pods, or the one that is the target."""
    if target.resource == PODS:
        return [found]
    if target.resource == SERVICES:
        selector = {"matchLabels": interception.selector(found)}
        if not selector["matchLabels"]:
            raise UsageError(f"{target} has no selector that would tell its pods.")
    else:
        selector = found["spec"]["selector"]
    labels = workload.selector_text(selector)
    return (await client.list(PODS, namespace=namespace, labels=labels)).items


def _template(target: Reference, found: Object, pods: Sequence[Object]) -> Object:
    """What is like the pods that are meant: labels, annotations, containers."""
    if target.resource not in (SERVICES, PODS):
        template: Object = found["spec"]["template"]
        return template
    if pods:
        return pods[0]
    return {"metadata": {"labels": interception.selector(found)}, "spec": {"containers": []}}


def _ports(
    target: Reference,
    found: Object,
    pods: Sequence[Object],
    template: Object,
    exposed: tuple[str, ...],
) -> list[ServicePort]:
    if target.resource == SERVICES:
        return ports.of_service(found, pods)
    return ports.of_containers(template["spec"], exposed)


def _spec(agent: AgentSpec, served: Sequence[ServicePort], like: Sequence[Object]) -> AgentSpec:
    return replace(
        agent,
        role="mesh",
        intercepted=tuple(Intercepted(port) for port in dict.fromkeys(e.listen for e in served)),
        port_names={each.listen: each.target_name for each in served if each.target_name},
        sidecar=next((sidecar for sidecar in map(Sidecar.like, like) if sidecar), None),
    )


async def _others(client: Client, namespace: str, labels: Mapping[str, str]) -> list[Object]:
    """Pods of agents that have these labels."""
    text = ",".join([AGENT_LABEL, *(f"{key}={value}" for key, value in labels.items())])
    return (await client.list(PODS, namespace=namespace, labels=text)).items


def _job(pod: Object) -> str:
    job: str = pod["metadata"]["labels"][AGENT_LABEL]
    return job


def _taken(target: Reference, mark: VersionMark, pod: Any) -> SessionError:
    owner = (pod["metadata"].get("annotations") or {}).get(OWNER, "somebody")
    return SessionError(
        f"{owner} has a pod of {target} with {mark} already.",
        "Choose another --version-mark, or take over with --force.",
    )
