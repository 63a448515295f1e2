"""The agent of a namespace that several sessions share: one Job, whoever has begun it.

Its name follows from what must be equal, so the API settles who makes it. It ends when the agent
in it does, which waits for each session; nobody deletes it while it may be of use to somebody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from towline.cluster import bundle, podstate
from towline.cluster.agent import Agent, Progress
from towline.cluster.job import CONTAINER, JOINED, OWNER, PREFIX, WISHES, AgentSpec
from towline.cluster.podstate import Phase
from towline.cluster.quantity import Amount
from towline.errors import AgentError, TowlineError
from towline.kube.client import PatchKind, Propagation
from towline.kube.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound
from towline.kube.resources import JOBS, PODS, Object

#: What the role of such an agent is, as objects of ours tell it.
SHARED = "shared"
# What nobody has asked for.
NONE = "nothing"
RETRY_SECONDS = 0.3
LOOK_SECONDS = 1.0
# Of a Job that others may be about to join: who looks and deletes is overtaken so often at most.
DELETE_TRIES = 5
_HASH_LETTERS = 10
_OVER = ("Complete", "Failed", "FailureTarget", "SuccessCriteriaMet")
_DEADLINE = "/spec/activeDeadlineSeconds"


def shared(spec: AgentSpec) -> AgentSpec:
    """The agent as one that is shared by all who want one like it.

    It has to be the same program, as both ends speak alike, and what it reaches and resolves
    depends on its sidecar and its DNS policy. All else may differ, and is told of.
    """
    revision = spec.sidecar.labels if spec.sidecar else None
    same = json.dumps([bundle.command(), revision, spec.pod.dns_policy], sort_keys=True)
    digest = hashlib.sha256(same.encode()).hexdigest()[:_HASH_LETTERS]
    name = f"{PREFIX}{SHARED}-{digest}"
    return replace(spec, shared=True, role=SHARED, name=name, wishes=json.dumps(_wishes(spec)))


def _wishes(spec: AgentSpec) -> dict[str, str]:
    """What may differ among those who share an agent, by the names of the options."""
    pod = spec.pod
    values: dict[str, Any] = {
        "image": spec.image,
        "image-pull-policy": pod.pull_policy,
        "image-pull-secret": pod.pull_secrets,
        "service-account": pod.service_account,
        "label": pod.labels,
        "annotation": pod.annotations,
        "node-selector": pod.node_selector,
        "toleration": pod.tolerations,
        "priority-class": pod.priority_class,
        "cpu": _amount(pod.cpu),
        "memory": _amount(pod.memory),
        "pod-patch": pod.patch,
    }
    return {
        name: value if isinstance(value, str) else _text(value) for name, value in values.items()
    }


def differences(job: Object, spec: AgentSpec) -> str:
    """In which options a Job is not as is wanted, with what it has; "" for none."""
    annotations = job["metadata"].get("annotations") or {}
    try:
        theirs = {key: str(value) for key, value in json.loads(annotations.get(WISHES, "")).items()}
    except (ValueError, AttributeError):
        return "it does not tell how it was made"
    differing = [
        f"--{name} {theirs.get(name) or NONE} instead of {value or NONE}"
        for name, value in _wishes(spec).items()
        if theirs.get(name, "") != value
    ]
    return ", ".join(differing)


def _amount(amount: Amount | None) -> str:
    if amount is None:
        return ""
    return ":".join(dict.fromkeys((amount.request, amount.limit)))


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True) if value else ""


class SharedAgent(Agent):
    """As an agent of one's own, but for its beginning and its end. `note` is what to tell of it."""

    _joined = False  # the Job is somebody else's
    _linked = False
    _hopeless = False  # it cannot start, for nobody

    async def start(self, progress: Progress, timeout_seconds: float) -> None:
        """Create the Job, or join the one that is there, and wait until its pod runs.

        Raises as :meth:`Agent.start` does, and AgentError when one that is ending does not end.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_seconds
        while True:
            try:
                async with asyncio.timeout_at(end):
                    await self._take(progress)
            except TimeoutError:
                raise AgentError(
                    f"A shared agent that is ending has not ended within {timeout_seconds:.0f} s: "
                    f"job/{self._spec.name} is still there.",
                    "Leave out --share for an agent of your own, or look at it with "
                    f"'kubectl describe job -n {self._namespace} {self._spec.name}'.",
                ) from None
            self._say(progress, "the cluster to make the agent's pod")
            try:
                if await self._runs(progress, max(end - loop.time(), 0)):
                    return
            except AgentError:
                # It may have been about to end when it was joined: the last one has left.
                if not self._joined or await self._is_of_use():
                    self._hopeless = loop.time() < end
                    raise

    async def settle(self) -> None:
        """As ever; and from now on the agent ends by itself when nobody uses it."""
        self._linked = True
        await super().settle()

    async def stop(self) -> bool:
        """Leave it to its agent, or to its deadline, unless it is surely of use to nobody else."""
        mine = self._created and not self._joined
        if self._asked and not self._linked and (mine or self._hopeless):
            with contextlib.suppress(NotFound, Forbidden):
                await self._delete_if_unwanted()
        return True

    async def _delete_if_unwanted(self) -> None:
        for _ in range(DELETE_TRIES):
            about = (await self._look())["metadata"]
            is_wanted = JOINED in (about.get("annotations") or {}) and not self._hopeless
            if is_wanted or about["uid"] != self._uid:
                return
            with contextlib.suppress(Conflict):  # somebody has just joined, or its status is new
                await self._delete(about["uid"], about["resourceVersion"])
                return

    async def discard(self) -> bool:
        """Delete the Job whose pod is lost, to make room for the next one of its name."""
        with contextlib.suppress(NotFound, Conflict):
            await self._delete(self._uid)
        return True

    @property
    def _labels(self) -> str:
        """By the Job itself: pods of one of before, of the same name, may still be there."""
        return f"controller-uid={self._uid}"

    async def _take(self, progress: Progress) -> None:
        """Join the Job, or make it: by the former first, for which a quota needs no room."""
        self._say(progress, "the cluster to accept the agent's Job")
        while True:
            try:
                self._joined = await self._join()
            except NotFound:
                with contextlib.suppress(AlreadyExists):
                    await self._create()
                    self._joined = False
                    return
                continue
            if self._joined:
                return
            self._say(progress, "the shared agent of before, which is ending, to be gone")
            await asyncio.sleep(RETRY_SECONDS)

    async def _runs(self, progress: Progress, seconds: float) -> bool:
        """Wait until the pod runs; False when its Job, which was joined, is of no use any more."""
        waiting = asyncio.ensure_future(self._wait(progress, seconds, lambda _: True))
        watching = asyncio.ensure_future(self._until_of_no_use())
        both = (waiting, watching)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                await waiting
            return waiting.done()
        finally:
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _until_of_no_use(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with contextlib.suppress(TowlineError):
                if self._joined and not await self._is_of_use():
                    return

    async def _is_of_use(self) -> bool:
        """Whether the Job is still that one, and neither it nor its pod is at its end."""
        try:
            job = await self._look()
        except NotFound:
            return False
        about = job["metadata"]
        is_ours = about["uid"] == self._uid and not about.get("deletionTimestamp")
        return is_ours and not _is_over(job) and not await self._has_only_ended_pods(self._uid)

    async def _join(self) -> bool:
        """Say that the Job is not its maker's alone; gives whether it is of use.

        Raises NotFound when there is none any more.
        """
        change = {"metadata": {"annotations": {JOINED: "true"}}}
        name = self._spec.name
        job = await self._client.patch(JOBS, name, change, namespace=self._namespace)
        about = job["metadata"]
        if about.get("deletionTimestamp"):
            return False
        if _is_over(job) or await self._has_only_ended_pods(about["uid"]):
            with contextlib.suppress(Forbidden, Conflict):
                await self._delete(about["uid"])
            return False
        self._refuse_if_altered(job)
        self._asked = self._created = True
        self._uid = about["uid"]
        self._began = asyncio.get_running_loop().time() - _seconds_since(about)
        if job["spec"].get("activeDeadlineSeconds") is not None:
            await self._renew_lease(self._age_seconds + self._spec.lease_seconds)
        if differing := differences(job, self._spec):
            owner = (about.get("annotations") or {}).get(OWNER) or "somebody"
            self.note = f"The shared agent is as {owner} has begun it: {differing}."
        return True

    async def _has_only_ended_pods(self, uid: str) -> bool:
        """Whether the Job's pod has been there, and is at its end."""
        labels = f"controller-uid={uid}"
        found = await self._client.list(PODS, namespace=self._namespace, labels=labels)
        states = [podstate.of_pod(pod).phase for pod in found.items]
        return bool(states) and all(phase is Phase.ENDED for phase in states)

    def _refuse_if_altered(self, job: Object) -> None:
        """Use nothing that claims to be a shared agent, and runs another program."""
        containers = job["spec"]["template"]["spec"]["containers"]
        programs = [each.get("command") for each in containers if each["name"] == CONTAINER]
        if programs != [list(bundle.command())]:
            raise AgentError(
                f"job/{self._spec.name} has the name of a shared agent, but another program.",
                "Leave out --share for an agent of your own, and ask whoever made that Job.",
            )

    async def _renew_lease(self, deadline_seconds: int) -> None:
        """Move the deadline, unless it was lifted meanwhile: the agent is in use then."""
        change = [{"op": "replace", "path": _DEADLINE, "value": deadline_seconds}]
        name, namespace = self._spec.name, self._namespace
        with contextlib.suppress(Invalid):
            await self._client.patch(JOBS, name, change, namespace=namespace, kind=PatchKind.JSON)

    async def _look(self) -> Object:
        """The Job, by the right to patch it."""
        return await self._client.patch(
            JOBS, self._spec.name, {}, namespace=self._namespace, dry_run=True
        )

    async def _delete(self, uid: str, resource_version: str = "") -> None:
        await self._client.delete(
            JOBS,
            self._spec.name,
            namespace=self._namespace,
            propagation=Propagation.BACKGROUND,
            uid=uid,
            resource_version=resource_version,
        )


def _is_over(job: Object) -> bool:
    conditions = job.get("status", {}).get("conditions") or ()
    return any(each["type"] in _OVER and each["status"] == "True" for each in conditions)


def _seconds_since(about: Mapping[str, Any]) -> float:
    """For how long an object has been there; by this machine's clock, which may be wrong."""
    made = datetime.fromisoformat(about["creationTimestamp"])
    return max(0.0, (datetime.now(UTC) - made).total_seconds())
