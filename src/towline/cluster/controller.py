"""Which workload a pod belongs to, as the pod itself tells."""

from __future__ import annotations

from towline.kube.resources import DAEMON_SETS, DEPLOYMENTS, STATEFUL_SETS, Object, Resource

_KINDS = {"StatefulSet": STATEFUL_SETS, "DaemonSet": DAEMON_SETS}


def workload_of(pod: Object) -> tuple[Resource, str] | None:
    """The kind and name of the workload that has made a pod; None for one of no such kind.

    A Deployment's ReplicaSet has its name and the pods' hash:
    https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label
    """
    about = pod["metadata"]
    for owner in about.get("ownerReferences") or ():
        if not owner.get("controller"):
            continue
        if owner["kind"] in _KINDS:
            return _KINDS[owner["kind"]], owner["name"]
        hashed = (about.get("labels") or {}).get("pod-template-hash")
        if owner["kind"] == "ReplicaSet" and hashed:
            return DEPLOYMENTS, owner["name"].removesuffix(f"-{hashed}")
    return None
