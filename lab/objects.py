"""The cluster's objects: applies the manifests and waits until what they describe runs."""

from __future__ import annotations

import re
from typing import Any

from lab import network, progress, users
from lab.errors import LabError
from lab.kubectl import Kubectl
from lab.layout import SOURCE, Layout

_NODE_SECONDS = 120
_PODS_SECONDS = 240
_SERVICES_SECONDS = 60
# Where kube-proxy's rules lead, with ':' written as '.'; what they do not lead to any more
# stays defined for a while.
_LED_TO = re.compile(r"goto endpoint-\w+-([^/]+/[^/]+)/\S+?__([^/]+)/")
_IPV4 = re.compile(r"\d+(\.\d+){3}")
_MANIFESTS = str(SOURCE / "manifests")
_WORKLOADS = ("Deployment", "StatefulSet")


def ensure(layout: Layout, *, restart: bool) -> None:
    """Apply the manifests; return when the node, all workloads and all services are ready.

    With `restart` the workloads get new pods, since their images are not what they were.
    """
    kubectl = Kubectl(layout)
    progress.wait_for(
        "the node",
        lambda: bool(_ready_nodes(kubectl)),
        _NODE_SECONDS,
        f"See {layout.logs}/kubelet.log.",
    )
    kubectl.run("apply", "-f", _MANIFESTS)
    if restart:
        _restart(kubectl)
    users.kubeconfig(layout, users.NAMESPACE_ONLY, users.CONNECT_RULES, namespace="team-a")
    progress.wait_for(
        "CoreDNS and the sample workloads",
        lambda: not unready_workloads(kubectl),
        _PODS_SECONDS,
        "See 'uv run lab exec laptop -- kubectl get pods -A'.",
    )
    progress.wait_for(
        "the services",
        lambda: _endpoints(kubectl) == led_to(layout),
        _SERVICES_SECONDS,
        f"See {layout.logs}/kube-proxy.log.",
    )


def led_to(layout: Layout) -> set[tuple[str, str]]:
    """To where kube-proxy leads now: pairs of a service, as namespace/name, and an address."""
    found = _LED_TO.findall(network.node_rules(layout))
    return {(service, _as_address(spelled)) for service, spelled in found}


def unready_workloads(kubectl: Kubectl) -> list[str]:
    """The lab's workloads that lack a ready replica, as namespace/name."""
    return [
        f"{item['metadata']['namespace']}/{item['metadata']['name']}"
        for item in _workloads(kubectl)
        if not _is_complete(item)
    ]


def _workloads(kubectl: Kubectl) -> list[dict[str, Any]]:
    items = kubectl.get("-f", _MANIFESTS)["items"]
    return [item for item in items if item["kind"] in _WORKLOADS]


def _endpoints(kubectl: Kubectl) -> set[tuple[str, str]]:
    """Every service's ready endpoints, as namespace/name and address."""
    found = set()
    for item in kubectl.get("endpointslices", "-A", "-l", "!service.kubernetes.io/headless")[
        "items"
    ]:
        head = item["metadata"]
        service = f"{head['namespace']}/{head['labels']['kubernetes.io/service-name']}"
        for endpoint in item["endpoints"] or ():
            if endpoint.get("conditions", {}).get("ready", True):
                found.add((service, endpoint["addresses"][0]))
    return found


def _as_address(spelled: str) -> str:
    return spelled if _IPV4.fullmatch(spelled) else spelled.replace(".", ":")


def _restart(kubectl: Kubectl) -> None:
    for item in _workloads(kubectl):
        head = item["metadata"]
        kubectl.run("rollout", "restart", f"{item['kind']}/{head['name']}", "-n", head["namespace"])


def _is_complete(workload: dict[str, Any]) -> bool:
    status = workload.get("status", {})
    wanted = workload["spec"]["replicas"]
    return bool(
        status.get("observedGeneration") == workload["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == wanted
        and status.get("readyReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
    )


def _ready_nodes(kubectl: Kubectl) -> list[str]:
    try:
        items = kubectl.get("nodes")["items"]
    except LabError:
        return []
    return [
        item["metadata"]["name"]
        for item in items
        for condition in item["status"].get("conditions", [])
        if condition["type"] == "Ready" and condition["status"] == "True"
    ]
