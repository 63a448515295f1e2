"""Workloads' pods: how many of them are ready, and an agent's pod that is taken for one of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from towline.agent.undo import AGENT_LABEL
from towline.errors import TowlineError
from towline.kube.client import Client
from towline.kube.errors import NotFound
from towline.kube.resources import PODS, Object
from towline.kube.watch import EventType, watch

# So long it takes until all nodes know that a pod is, or is no more, one that a service leads to.
SPREAD_SECONDS = 2.0
TAKE_OFF_SECONDS = 5.0

# By these, controllers know their own pods: https://kubernetes.io/docs/reference/labels-annotations-taints/
_OF_CONTROLLERS = frozenset(
    {
        "controller-revision-hash",
        "controller-uid",
        "job-name",
        "pod-template-hash",
        "apps.kubernetes.io/pod-index",
        "statefulset.kubernetes.io/pod-name",
        AGENT_LABEL,
    }
)
# What is put on single pods, by Jobs, by Istio and by the scheduler's side.
_OF_SINGLE_PODS = (
    "batch.kubernetes.io/",
    "security.istio.io/",
    "service.istio.io/",
    "topology.kubernetes.io/",
)


def labels(workload: Object) -> dict[str, str]:
    """The labels by which services and policies know a workload's pods."""
    return labels_of(workload["spec"]["template"])


def labels_of(pod: Object) -> dict[str, str]:
    """Those by which they know a pod, or what is made by a template, and others like it."""
    found: Mapping[str, str] = pod["metadata"].get("labels") or {}
    return {
        key: value
        for key, value in found.items()
        if key not in _OF_CONTROLLERS and not key.startswith(_OF_SINGLE_PODS)
    }


def selector_text(selector: Mapping[str, Any]) -> str:
    """A LabelSelector as the API has it in queries, without pods of agents.

    See https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/.
    """
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for each in selector.get("matchExpressions") or []:
        key, values = each["key"], ",".join(each.get("values") or [])
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[each["operator"]]
        )
    return ",".join([*parts, f"!{AGENT_LABEL}"])


async def ready_pods(
    client: Client, namespace: str, *, labels: str = "", fields: str = ""
) -> AsyncGenerator[Mapping[str, Object], None]:
    """The pods that are ready by their names, now and each time that there is news; for ever.

    `labels` and `fields` are selectors as the API has them.
    """
    changes = watch(client, PODS, namespace=namespace, labels=labels, fields=fields)
    ready, synced = dict[str, Object](), False
    async with contextlib.aclosing(changes) as events:
        async for event in events:
            synced = synced or event.type is EventType.SYNCED
            if event.type is not EventType.SYNCED:
                name = event.object["metadata"]["name"]
                if event.type is EventType.DELETED or not _is_ready(event.object):
                    ready.pop(name, None)
                else:
                    ready[name] = event.object
            if synced:
                yield dict(ready)


def _is_ready(pod: Object) -> bool:
    """Whether services lead there."""
    conditions = pod.get("status", {}).get("conditions") or []
    return "deletionTimestamp" not in pod["metadata"] and any(
        each["type"] == "Ready" and each["status"] == "True" for each in conditions
    )


class BorrowedLabels:
    """Labels of other pods, on those of an agent for a while.

    No other controller takes such a pod for its own: it has one, the Job.
    """

    def __init__(self, client: Client, namespace: str, borrowed: Mapping[str, str]) -> None:
        self._client = client
        self._namespace = namespace
        self._borrowed = borrowed
        self._own: dict[str, dict[str, str | None]] = {}
        self._worn: set[str] = set()

    async def put_on(self, pod: str) -> None:
        """Give a pod the labels; safe to call again. Raises ApiError."""
        if pod in self._worn or not self._borrowed:
            return
        if pod not in self._own:
            found = await self._client.get(PODS, pod, namespace=self._namespace)
            own = found["metadata"].get("labels") or {}
            # Before it is done, as the answer may be lost.
            self._own[pod] = {key: own.get(key) for key in self._borrowed}
        await self._write(pod, self._borrowed)
        self._worn.add(pod)

    async def take_from(self, job: str) -> None:
        """Take them from the pods of somebody else's agent. Raises ApiError."""
        theirs = await self._client.list(
            PODS, namespace=self._namespace, labels=f"{AGENT_LABEL}={job}"
        )
        for pod in theirs.items:
            with contextlib.suppress(NotFound):
                await self._write(pod["metadata"]["name"], dict.fromkeys(self._borrowed))

    async def give_back(self, spread_seconds: float) -> None:
        """Take them off if that can be done, and wait until nodes know: the pods are gone soon."""
        with contextlib.suppress(TowlineError, TimeoutError):
            await asyncio.wait_for(self.take_off(), TAKE_OFF_SECONDS)
        await asyncio.sleep(spread_seconds)

    async def take_off(self) -> None:
        """Give all pods their own labels back. Raises ApiError."""
        while self._own:
            pod, own = next(iter(self._own.items()))
            with contextlib.suppress(NotFound):
                await self._write(pod, own)
            del self._own[pod]

    async def _write(self, pod: str, values: Mapping[str, str | None]) -> None:
        change = {"metadata": {"labels": dict(values)}}
        await self._client.patch(PODS, pod, change, namespace=self._namespace)
