"""What of an object in the cluster is to be as it was, and what changes by itself."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

Object = Mapping[str, Any]

PODS = "pods"
ENDPOINTS = "endpoints"
SLICES = "endpointslices.discovery.k8s.io"

# Who has changed it, how often, and when.
_VOLATILE = ("managedFields", "resourceVersion", "generation")
_VOLATILE_ANNOTATIONS = (
    "endpoints.kubernetes.io/last-change-trigger-time",
    # Who leads, of several that do the same, and since when it has been heard of.
    "control-plane.alpha.kubernetes.io/leader",
)
# Which one it is of several that its controller has made.
_IDENTITY = ("name", "generateName", "uid", "creationTimestamp")

_SLICE_SERVICE = "kubernetes.io/service-name"
_SLICE_MAKER = "endpointslice.kubernetes.io/managed-by"
# Its slices come and go with the ports of the pods that a service leads to.
_CONTROLLER = "endpointslice-controller.k8s.io"

# A container that was put into a running pod stays in its spec until the pod is replaced.
_OURS = "towline-"


def title(kind: str, item: Object, *, new_pods: bool = False) -> str:
    """What it is called: its kind, namespace and name, or what its controller made it for."""
    about = item["metadata"]
    where = f"{about['namespace']}/" if about.get("namespace") else ""
    if kind == SLICES and _is_controllers_own(item):
        return f"{kind} {where}of {about['labels'][_SLICE_SERVICE]} {item['addressType']}"
    if kind == PODS and new_pods and (owner := _controller_of(item)):
        return f"{kind} {where}of {owner['kind']} {owner['name']}"
    return f"{kind} {where}{about['name']}"


def essence(kind: str, item: Object, *, new_pods: bool = False) -> str:
    """All that is to be as it was, as text, with its uid if it is to be that very object.

    `new_pods`: those that a controller made may have been replaced by others that are alike.
    """
    kept: dict[str, Any] = copy.deepcopy({k: v for k, v in item.items() if k != "status"})
    _settle_metadata(kept["metadata"])
    if kind == PODS:
        _settle_pod(kept, item.get("status") or {})
        if new_pods and _controller_of(item):
            _make_any_pod(kept)
    elif kind == SLICES:
        _settle_slice(kept, new_pods=new_pods)
    elif kind == ENDPOINTS and new_pods:
        for subset in kept.get("subsets") or ():
            for name in ("addresses", "notReadyAddresses"):
                addresses = subset.get(name) or []
                for address in addresses:
                    _drop(address, "ip", "targetRef")
                # They are in the order of their addresses.
                addresses.sort(key=lambda each: json.dumps(each, sort_keys=True))
    text = json.dumps(kept, indent=1, sort_keys=True)
    return f"uid {kept['metadata'].get('uid', '')}\n{text}"


def _settle_metadata(about: dict[str, Any]) -> None:
    _drop(about, *_VOLATILE)
    annotations = about.get("annotations")
    if annotations:
        _drop(annotations, *_VOLATILE_ANNOTATIONS)
    if not annotations:
        _drop(about, "annotations")


def _settle_pod(kept: dict[str, Any], status: Object) -> None:
    """Tell how often its containers have been started anew; leave out those of ours that have
    ended.
    """
    containers = status.get("containerStatuses") or ()
    kept["restarts"] = {each["name"]: each.get("restartCount", 0) for each in containers}
    ended = {
        each["name"]
        for each in status.get("ephemeralContainerStatuses") or ()
        if each["name"].startswith(_OURS) and "terminated" in each.get("state", {})
    }
    spec = kept.get("spec") or {}
    left = [each for each in spec.get("ephemeralContainers") or () if each["name"] not in ended]
    _drop(spec, "ephemeralContainers")
    if left:
        spec["ephemeralContainers"] = left


def _make_any_pod(kept: dict[str, Any]) -> None:
    """Leave out what only this one of its controller's pods has, its token's name included."""
    _drop(kept["metadata"], *_IDENTITY)
    spec = kept.get("spec") or {}
    own = "kube-api-access-"
    spec["volumes"] = [v for v in spec.get("volumes") or () if not v["name"].startswith(own)]
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        mounts = container.get("volumeMounts") or ()
        container["volumeMounts"] = [m for m in mounts if not m["name"].startswith(own)]


def _settle_slice(kept: dict[str, Any], *, new_pods: bool) -> None:
    """Its controller writes endpoints in any order, and makes it anew when that is easier."""
    endpoints = kept.get("endpoints") or []
    if new_pods:
        for endpoint in endpoints:
            _drop(endpoint, "addresses", "targetRef")
    kept["endpoints"] = sorted(endpoints, key=lambda each: json.dumps(each, sort_keys=True))
    if _is_controllers_own(kept):
        _drop(kept["metadata"], *_IDENTITY)


def _is_controllers_own(item: Object) -> bool:
    labels = item["metadata"].get("labels") or {}
    return labels.get(_SLICE_MAKER) == _CONTROLLER and _SLICE_SERVICE in labels


def _controller_of(item: Object) -> Object | None:
    owners = item["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def _drop(fields: dict[str, Any], *names: str) -> None:
    for name in names:
        fields.pop(name, None)
