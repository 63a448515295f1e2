"""Sidecars of Istio: which pods have one, and what an agent's pod says so that it gets one, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from towline.cluster.podprobes import containers
from towline.kube.client import Client
from towline.kube.resources import PODS, Object

CONTAINER = "istio-proxy"
INJECT = "sidecar.istio.io/inject"
REVISION = "istio.io/rev"

#: From where a sidecar connects to the programs of its pod, with what has come from outside.
ADDRESSES = ("127.0.0.6", "::6")

# A workload's pods are made alike: a few tell of all.
_A_FEW = 20
# What says how a sidecar is to be; on an injected pod the others tell what has been done.
_PASSED_ON = ("sidecar.istio.io/", "traffic.sidecar.istio.io/", "proxy.istio.io/")
_NOT_PASSED_ON = (INJECT, "sidecar.istio.io/status")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Labels and annotations by which Istio adds a sidecar to a pod.

    See https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/ and
    https://istio.io/latest/docs/reference/config/annotations/.
    """

    labels: Mapping[str, str] = field(default_factory=lambda: {INJECT: "true"})
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_revision(cls, revision: str) -> Sidecar:
        """One of a control plane's revision; of the default one for ""."""
        return cls({INJECT: "true", **({REVISION: revision} if revision else {})})

    @classmethod
    def like(cls, pod: Object) -> Sidecar | None:
        """One as a pod, or a pod's template, has it; None when that has none."""
        metadata = pod["metadata"]
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        asked = labels.get(INJECT, annotations.get(INJECT)) == "true"
        if not asked and not is_in(pod):
            return None
        passed_on = {
            key: value
            for key, value in annotations.items()
            if key.startswith(_PASSED_ON) and key not in _NOT_PASSED_ON
        }
        return cls(cls.of_revision(labels.get(REVISION, "")).labels, passed_on)


# A mesh's sidecar would go on when the agent has ended, and the Job never finish, unless the agent
# asks it to end, as it does with Istio's. Istio and Kuma look at labels, their older versions at
# annotations.
_NO_SIDECAR = {INJECT: "false", "kuma.io/sidecar-injection": "disabled"}
#: What a pod says that is to have none, of whatever mesh.
NONE = Sidecar(_NO_SIDECAR, {**_NO_SIDECAR, "linkerd.io/inject": "disabled"})


def is_in(pod: Object) -> bool:
    """Whether a pod has a sidecar."""
    return any(each["name"] == CONTAINER for each in containers(pod))


async def of_pods(client: Client, namespace: str, labels: str) -> Sidecar | None:
    """What the pods of a selector have, by a few of them. Raises ApiError."""
    some = await client.some(PODS, _A_FEW, namespace=namespace, labels=labels)
    return next((found for found in map(Sidecar.like, some) if found), None)
