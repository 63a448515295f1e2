"""The pod of a workload that connections go to, which is another one when that is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing

from towline.cluster import podstate, workload
from towline.features.reference import Reference
from towline.kube.client import Client
from towline.kube.resources import PODS, SERVICES, Object

Moved = Callable[[str], None]
"""Called with the name of another pod that connections go to from now on; "" for none."""


class FollowedPod:
    """Stays with one ready pod of an object until that is not ready any more."""

    def __init__(self, client: Client, namespace: str, reference: Reference, found: Object) -> None:
        self._client = client
        self._namespace = namespace
        self._labels, self._fields = _selectors(reference, found)
        self._pod: Object | None = None
        self._synced = asyncio.Event()

    @property
    def name(self) -> str:
        """That pod; "" when none is ready."""
        return str(self._pod["metadata"]["name"]) if self._pod else ""

    @property
    def address(self) -> str:
        """Its address, of the cluster's first family; "" when none is ready."""
        return next(iter(podstate.addresses(self._pod)), "") if self._pod else ""

    @property
    def spec(self) -> Object | None:
        """Its spec."""
        return self._pod["spec"] if self._pod else None

    async def known(self) -> None:
        """Wait until it is known which pods there are."""
        await self._synced.wait()

    async def follow(self, moved: Moved) -> None:
        """Look at the pods for ever. Raises ApiError when that is not possible."""
        pods = workload.ready_pods(
            self._client, self._namespace, labels=self._labels, fields=self._fields
        )
        async with aclosing(pods) as found:
            async for ready in found:
                self._choose(ready, moved)
                self._synced.set()

    def _choose(self, ready: Mapping[str, Object], moved: Moved) -> None:
        before = _identity(self._pod)
        same = (pod for pod in ready.values() if _identity(pod) == before)
        self._pod = next(same, None) or min(ready.values(), key=_age, default=None)
        if _identity(self._pod) != before and self._synced.is_set():
            moved(self.name)


def _selectors(reference: Reference, found: Object) -> tuple[str, str]:
    """Of labels and of fields: which pods are an object's."""
    if reference.resource == PODS:
        return "", f"metadata.name={reference.name}"
    selector = found["spec"].get("selector") or {}
    if reference.resource == SERVICES:
        selector = {"matchLabels": selector}
    return workload.selector_text(selector), ""


def _identity(pod: Object | None) -> tuple[str, str]:
    """What tells a pod from one of the same name, and from itself before it was restarted."""
    if pod is None:
        return "", ""
    return pod["metadata"].get("uid", ""), next(iter(podstate.addresses(pod)), "")


def _age(pod: Object) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]
