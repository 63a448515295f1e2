"""Takes a workload's traffic by its scale: it has no pods, and an agent's pod has their labels."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import replace

from towline.agent.intercept import Intercepted
from towline.agent.undo import Record
from towline.agent.undoing import Changed
from towline.cluster import interception, restorer, sidecar, workload
from towline.cluster.interception import Interception
from towline.cluster.job import AgentSpec, now
from towline.cluster.workload import SPREAD_SECONDS, BorrowedLabels, selector_text
from towline.errors import SessionError, TowlineError, UsageError
from towline.features.downlink import ports
from towline.features.downlink.ports import ServicePort
from towline.features.downlink.takeover import Takeover, Wanted
from towline.features.reference import Reference
from towline.features.rights import agent_rights, object_rights, require
from towline.features.state import Narrator
from towline.kube.access import Right
from towline.kube.client import Client
from towline.kube.errors import NotFound
from towline.kube.resources import (
    DAEMON_SETS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    SERVICES,
    STATEFUL_SETS,
    Object,
    Resource,
)

# When some of the original pods are ready, so long the others are waited for.
REST_SECONDS = 15.0
OTHERWISE = "connections are reset"


def rights(wanted: Reference, namespace: str) -> list[Right]:
    """What it takes, besides a way for the link."""
    return [
        *agent_rights(namespace),
        *object_rights(wanted.resource, namespace, wanted.name),
        Right("patch", "", "pods", namespace=namespace),
    ]


def refuse_if_unfit(target: Reference, *, copy: bool = False) -> None:
    """Raise UsageError for what has no scale, and for a mirror, whose originals answer."""
    if copy:
        raise UsageError(
            "--mode scale stops the original pods: there would be nobody to answer.",
            "Use another mode for a mirror.",
        )
    if target.resource == SERVICES:
        raise UsageError(
            f"{target} has no pods of its own that --mode scale could stop.",
            "Name the workload behind it, as in 'tow exchange deploy/NAME --mode scale'; or leave "
            "out --mode, and the service leads here while its pods run on.",
        )
    if target.resource == DAEMON_SETS:
        raise UsageError(
            f"{target} has a pod on each node, and no number of them that could be 0.",
            "Use --mode ephemeral, by which its pods run on.",
        )
    if target.resource not in (DEPLOYMENTS, STATEFUL_SETS):
        raise UsageError(
            f"{target} could not be brought back by --mode scale once it is stopped.",
            "Name its workload, as in 'tow exchange deploy/NAME --mode scale'; or use --mode "
            "ephemeral, by which it runs on.",
        )


async def prepare(client: Client, namespace: str, wanted: Wanted, tell: Narrator) -> Takeover:
    """Look at the workload. Raises UsageError when it cannot be taken, SessionError when somebody
    has it, AccessError for a right that is missing, ApiError.
    """
    target, agent = wanted.target, replace(wanted.agent, role=wanted.command)
    refuse_if_unfit(target, copy=wanted.copy)
    await require(client, namespace, rights(target, namespace))
    found = await client.get(target.resource, target.name, namespace=namespace)
    holder = interception.holder(found)
    if holder is not None and not wanted.force:
        raise interception.held_by(str(target), holder)
    _refuse_if_lossy(found, target)
    served = ports.of_containers(found["spec"]["template"]["spec"], wanted.exposed)
    record = Record(agent.name, agent.owner, now(), replicas=interception.replicas(found))
    changed, account = (target.resource, target.name), agent.pod.service_account
    may_undo = await restorer.may_be_made(client, namespace, *changed, account=account)
    pods = selector_text(found["spec"]["selector"])
    agent = replace(agent, sidecar=await sidecar.of_pods(client, namespace, pods))
    spec = _spec(agent, served)
    if may_undo:
        spec = _undoing(spec, target.resource, found, record)
    change = Interception(client, target.resource, found, record, str(target))
    labels = BorrowedLabels(client, namespace, workload.labels(found) if served else {})
    originals = Originals(client, target, found, tell, wanted.timeout_seconds)
    return Takeover(
        Scaling(change, labels, originals, tell),
        served,
        spec,
        OTHERWISE,
        await _notes(client, found, target, served, may_undo=may_undo),
    )


class Scaling:
    """A workload without pods meanwhile: a :class:`towline.features.downlink.takeover.Switch`."""

    def __init__(
        self,
        change: Interception,
        labels: BorrowedLabels,
        originals: Originals,
        tell: Narrator,
        spread_seconds: float = SPREAD_SECONDS,
    ) -> None:
        self._change = change
        self._labels = labels
        self._originals = originals
        self._tell = tell
        self._spread_seconds = spread_seconds

    async def begin(self, pod: str) -> None:
        """Let the agent's pod be one of the workload's, then the only one."""
        self._tell.progress("Waiting for the cluster's nodes to hear of the agent")
        await self._labels.put_on(pod)
        await asyncio.sleep(self._spread_seconds)
        await self._change.begin()
        # Its session may be gone: it would get a share of what comes, and refuse it.
        if self._change.predecessor:
            await self._labels.take_from(self._change.predecessor)

    async def follow(self, pod: str) -> None:
        """Let the agent's new pod be one."""
        await self._labels.put_on(pod)

    async def end(self) -> None:
        """Let the original pods come back; then let the agent's be none of them any more."""
        await self._change.end()
        await self._originals.back()
        await self._labels.give_back(self._spread_seconds)

    async def disturbed(self) -> SessionError:
        """Wait until somebody else changes what is relied on."""
        return await self._change.disturbed()


class Originals:
    """The pods of a workload that was `found`, none of ours."""

    def __init__(
        self,
        client: Client,
        target: Reference,
        found: Object,
        tell: Narrator,
        timeout_seconds: float,
    ) -> None:
        self._client = client
        self._target = target
        self._found = found
        self._tell = tell
        self._timeout_seconds = timeout_seconds

    async def back(self) -> None:
        """Wait until all are ready that are to be, not much longer than for the first of them.

        The user is told when there is none in time.
        """
        try:
            await asyncio.wait_for(self._await_first(), self._timeout_seconds)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._await_all(), REST_SECONDS)
        except NotFound:
            return
        except TimeoutError:
            self._tell.event(
                "note",
                f"None of the pods of {self._target} has been ready within "
                f"{self._timeout_seconds:.0f} s, and nobody answers for them now: see 'kubectl "
                "describe pods'.",
            )
        except TowlineError as error:
            self._tell.event("note", f"The pods of {self._target} are not waited for: {error}")

    async def _await_first(self) -> None:
        wanted = await self._wanted()
        await self._until_ready(min(1, wanted), wanted)

    async def _await_all(self) -> None:
        wanted = await self._wanted()
        await self._until_ready(wanted, wanted)

    async def _wanted(self) -> int:
        """How many there are to be: others may have changed that; 0 if they have taken over."""
        target, namespace = self._target, self._found["metadata"]["namespace"]
        found = await self._client.get(target.resource, target.name, namespace=namespace)
        wanted: int = found["spec"].get("replicas", 1)
        return wanted

    async def _until_ready(self, number: int, wanted: int) -> None:
        if not wanted:
            return
        namespace = self._found["metadata"]["namespace"]
        labels = workload.selector_text(self._found["spec"]["selector"])
        async with aclosing(workload.ready_pods(self._client, namespace, labels=labels)) as found:
            async for ready in found:
                if len(ready) >= number:
                    return
                self._tell.progress(
                    f"Waiting for {self._target}: {len(ready)} of {wanted} pods are ready"
                )


def _spec(agent: AgentSpec, served: Sequence[ServicePort]) -> AgentSpec:
    return replace(
        agent,
        intercepted=tuple(Intercepted(each.listen) for each in served),
        port_names={each.listen: each.target_name for each in served if each.target_name},
    )


def _undoing(agent: AgentSpec, resource: Resource, found: Object, record: Record) -> AgentSpec:
    """An agent that scales it back. One that may not could but end all the same."""
    namespace, name = found["metadata"]["namespace"], found["metadata"]["name"]
    account = agent.pod.service_account
    return replace(
        agent,
        companions=restorer.companions(agent.name, namespace, resource, name, account=account),
        changed=Changed(resource.path(namespace, name), record),
        may_undo=True,
    )


def _refuse_if_lossy(found: Object, target: Reference) -> None:
    policy = found["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    if policy.get("whenScaled") == "Delete" and found["spec"].get("volumeClaimTemplates"):
        raise UsageError(
            f"{target} deletes its pods' volumes when it is scaled down.",
            "Set persistentVolumeClaimRetentionPolicy.whenScaled to Retain first, or use "
            "--mode ephemeral, by which its pods run on.",
        )


async def _notes(
    client: Client,
    found: Object,
    target: Reference,
    served: Sequence[ServicePort],
    *,
    may_undo: bool,
) -> list[str]:
    notes = []
    if not may_undo:
        notes.append(
            f"You may not make Roles here: should this session vanish, {target} stays without "
            f"pods until somebody runs 'tow recover {target}'."
        )
    if not served:
        notes.append(f"{target} has no ports: its pods are stopped, and nothing is led here.")
    if interception.replicas(found) == 0:
        notes.append(f"{target} has no pods even now: it is at 0 replicas.")
    if target.resource == STATEFUL_SETS:
        notes.append(
            f"The names of {target.name}'s single pods are not resolved meanwhile. With --mode "
            "ephemeral they are."
        )
    if scaler := await _autoscaler(client, found, target):
        notes.append(
            f"The HorizontalPodAutoscaler {scaler} rests while {target} is at 0 replicas, and goes "
            "on when there are some again."
        )
    return notes


async def _autoscaler(client: Client, found: Object, target: Reference) -> str:
    """The name of what else scales the workload, as far as may be seen.

    It does not touch what has 0 replicas:
    https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#implicit-maintenance-mode-deactivation
    """
    try:
        namespace = found["metadata"]["namespace"]
        items = (await client.list(HORIZONTAL_POD_AUTOSCALERS, namespace=namespace)).items
    except TowlineError:
        return ""
    kind = {DEPLOYMENTS: "Deployment", STATEFUL_SETS: "StatefulSet"}[target.resource]
    for item in items:
        scaled = item["spec"]["scaleTargetRef"]
        if (scaled["kind"], scaled["name"]) == (kind, target.name):
            return str(item["metadata"]["name"])
    return ""
