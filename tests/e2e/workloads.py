"""Applications and services in the cluster in the ways in which an exchange may meet them.

    with standing(lab, workload("Deployment", "shop"), service("shop")):
        ...

They are the sample application (lab/sample), which answers with its NAME, here the workload's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from lab import objects as lab_objects
from lab.cluster import Lab
from lab.images import SAMPLE_IMAGE
from tests.e2e.objects import Object
from tests.e2e.waiting import until

READY_SECONDS = 60.0
GONE_SECONDS = 60.0

HTTP, ADMIN, NAME_UDP = 80, 8081, 7004
"""A service's ports: `http` to a container's port of that name, `admin` and the datagrams that
are answered with the pod's name to a number.
"""

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


def workload(
    kind: str,
    name: str,
    *,
    namespace: str = "default",
    app: str = "",
    replicas: int = 2,
    offset: int = 0,
    **pod: Any,
) -> Object:
    """A Deployment, StatefulSet or DaemonSet of the application, its ports higher by `offset`.

    Its pods are labelled with `app`, the name by default. `pod` goes into the pods' spec.
    """
    labels = {"app": app or name}
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"workload": name}},
        "template": {
            "metadata": {"labels": {**labels, "workload": name}},
            "spec": pod_spec(name, offset, **pod),
        },
    }
    if kind != "DaemonSet":
        spec["replicas"] = replicas
    if kind == "StatefulSet":
        spec |= {"serviceName": app or name, "podManagementPolicy": "Parallel"}
    return _object("apps/v1", kind, name, namespace, spec)


def pod(name: str, *, namespace: str = "default", offset: int = 0, **spec: Any) -> Object:
    """A pod that nobody replaces."""
    made = _object("v1", "Pod", name, namespace, pod_spec(name, offset, **spec))
    made["metadata"]["labels"] = {"app": name}
    return made


def pod_spec(name: str, offset: int = 0, **spec: Any) -> dict[str, Any]:
    """The spec of a pod with the application in it."""
    containers = [container(name, offset)]
    return {"terminationGracePeriodSeconds": 1, "containers": containers, **spec}


def container(name: str, offset: int = 0, prefix: str = "", **more: Any) -> dict[str, Any]:
    """A container with the application; several of a pod need offsets and prefixes to differ.

    The kubelet asks for `/ready` once a second.
    """
    ports = [
        {"name": f"{prefix}http", "containerPort": 8080 + offset},
        {"name": f"{prefix}admin", "containerPort": ADMIN + offset},
        {"name": f"{prefix}echo", "containerPort": 7000 + offset},
        {"name": f"{prefix}name", "containerPort": NAME_UDP + offset, "protocol": "UDP"},
    ]
    ready = {"httpGet": {"path": "/ready", "port": 8080 + offset}, "periodSeconds": 1}
    environment = {"NAME": name, "PORT_OFFSET": str(offset)}
    return {
        "name": f"{prefix}app",
        "image": SAMPLE_IMAGE,
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "ports": ports,
        "readinessProbe": ready,
        **more,
    }


def two_containers(name: str) -> list[dict[str, Any]]:
    """Two containers for one pod: the second's name is NAME-side, its ports 1000 higher, their
    names behind `side-`.
    """
    return [container(name), container(f"{name}-side", 1000, "side-")]


def probed(name: str) -> dict[str, Any]:
    """A container whose port `admin` the kubelet connects to once a second, besides."""
    live = {"tcpSocket": {"port": "admin"}, "periodSeconds": 1, "failureThreshold": 3}
    return container(name, livenessProbe=live)


def service(name: str, *, namespace: str = "default", app: str = "", **spec: Any) -> Object:
    """A Service for the pods with that `app`, the name by default: two TCP ports and a UDP one."""
    body = {
        "selector": {"app": app or name},
        "ports": [
            {"name": "http", "port": HTTP, "targetPort": "http"},
            {"name": "admin", "port": ADMIN, "targetPort": ADMIN},
            {"name": "name", "port": NAME_UDP, "targetPort": NAME_UDP, "protocol": "UDP"},
        ],
        **spec,
    }
    return _object("v1", "Service", name, namespace, {k: v for k, v in body.items() if v})


HEADLESS = {"clusterIP": "None"}
AFFINITY = {"sessionAffinity": "ClientIP"}
NODE_PORT = {"type": "NodePort"}
LOAD_BALANCER = {"type": "LoadBalancer"}
LOCAL = {**LOAD_BALANCER, "externalTrafficPolicy": "Local"}
IPV6_ONLY = {"ipFamilies": ["IPv6"]}
DUAL_STACK = {"ipFamilyPolicy": "RequireDualStack"}
NO_SELECTOR: dict[str, Any] = {"selector": None}
EXTERNAL_NAME = {"type": "ExternalName", "externalName": "outside.example", "selector": None}
"""What makes a Service of that kind, as the keywords of :func:`service`."""


def autoscaler(name: str, namespace: str = "default") -> Object:
    """A HorizontalPodAutoscaler for a Deployment; without metrics it does nothing but insist on
    its bounds, 2 to 4.
    """
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    spec = {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 4}
    return _object("autoscaling/v2", "HorizontalPodAutoscaler", name, namespace, spec)


def disruption_budget(name: str, app: str = "", namespace: str = "default") -> Object:
    """A PodDisruptionBudget that lets none of the pods be evicted."""
    spec = {"maxUnavailable": 0, "selector": {"matchLabels": {"app": app or name}}}
    return _object("policy/v1", "PodDisruptionBudget", name, namespace, spec)


@contextmanager
def standing(lab: Lab, *objects: Object) -> Iterator[None]:
    """They are there meanwhile: their pods ready, and the node leads to all of them. Afterwards
    they are gone with all that is made for them.
    """
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    lab.kubectl("apply", "-f", "-", stdin=text)
    try:
        for made in objects:
            _await_ready(lab, made)
        services = [made for made in objects if made["kind"] == "Service"]
        until(lambda: _are_served(lab, services), READY_SECONDS, "the services to be served")
        yield
    finally:
        deleting = ("delete", "--ignore-not-found", "--cascade=foreground", "-f", "-")
        lab.kubectl(*deleting, stdin=text, timeout_seconds=GONE_SECONDS)
        until(lambda: not _left(lab, objects), GONE_SECONDS, "all to be gone")


def give_address(lab: Lab, name: str, address: str, namespace: str = "default") -> None:
    """Do as a load balancer does: the Service is reachable at that address from now on."""
    body = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
    arguments = ("service", name, "-n", namespace, "--subresource=status", "--type=merge")
    lab.kubectl("patch", *arguments, "-p", json.dumps(body))


def node_port(lab: Lab, name: str, port: str = "http", namespace: str = "default") -> int:
    """The port of the node for a Service's port of that name."""
    ports = lab.kubectl_json("service", name, "-n", namespace)["spec"]["ports"]
    return next(int(each["nodePort"]) for each in ports if each["name"] == port)


def pods_of(lab: Lab, app: str, namespace: str = "default") -> list[Object]:
    """The pods with that `app` which are not being deleted."""
    items: list[Object] = lab.kubectl_json("pods", "-n", namespace, "-l", f"app={app}")["items"]
    return [item for item in items if "deletionTimestamp" not in item["metadata"]]


def _object(version: str, kind: str, name: str, namespace: str, spec: dict[str, Any]) -> Object:
    head = {"name": name, "namespace": namespace}
    return {"apiVersion": version, "kind": kind, "metadata": head, "spec": spec}


def _await_ready(lab: Lab, made: Object) -> None:
    head = made["metadata"]
    where = (
        f"{made['kind']}/{head['name']}",
        "-n",
        head["namespace"],
        f"--timeout={READY_SECONDS}s",
    )
    if made["kind"] in _WORKLOADS:
        lab.kubectl("rollout", "status", *where, timeout_seconds=READY_SECONDS + 10)
    elif made["kind"] == "Pod":
        lab.kubectl("wait", "--for=condition=Ready", *where, timeout_seconds=READY_SECONDS + 10)


def _are_served(lab: Lab, services: list[Object]) -> bool:
    """Whether kube-proxy leads to just the pods of each, in each of its families; of a headless
    one, whether its slices have them.
    """
    there = _found(lab, services, "services,pods,endpointslices")
    led = lab_objects.led_to(lab.layout)
    for made in services:
        live = next(each for each in there if _is_service(each, made))
        if not live["spec"].get("selector"):
            continue
        wanted = set(_addresses(there, live))
        found = {address for where, address in led if where == _name(made)}
        if live["spec"]["clusterIP"] == "None":
            found = set(_in_slices(there, live))
        if not wanted or found != wanted:
            return False
    return True


def _found(lab: Lab, made: Iterable[Object], kinds: str) -> list[Object]:
    """All objects of some kinds in the namespaces of those."""
    return [
        item
        for namespace in {each["metadata"]["namespace"] for each in made}
        for item in lab.kubectl_json(kinds, "-n", namespace)["items"]
    ]


def _is_service(item: Object, made: Object) -> bool:
    return item["kind"] == "Service" and _name(item) == _name(made)


def _addresses(there: list[Object], live: Object) -> Iterator[str]:
    """Of the service's pods."""
    spec = live["spec"]
    for item in there:
        labels = item["metadata"].get("labels", {}).items()
        is_meant = item["metadata"]["namespace"] == live["metadata"]["namespace"]
        if item["kind"] == "Pod" and is_meant and spec["selector"].items() <= labels:
            for entry in item["status"].get("podIPs", ()):
                if ("IPv6" if ":" in entry["ip"] else "IPv4") in spec["ipFamilies"]:
                    yield entry["ip"]


def _in_slices(there: list[Object], live: Object) -> Iterator[str]:
    for item in there:
        if item["kind"] == "EndpointSlice" and _service_of(item) == _name(live):
            for endpoint in item["endpoints"] or ():
                if endpoint["conditions"]["ready"]:
                    yield from endpoint["addresses"]


def _left(lab: Lab, objects: tuple[Object, ...]) -> list[Object]:
    """What controllers have made for services that are deleted, and go on to delete."""
    names = {_name(made) for made in objects if made["kind"] == "Service"}
    there = _found(lab, objects, "endpoints,endpointslices")
    return [item for item in there if _service_of(item) in names]


def _service_of(item: Object) -> str:
    """The service that a slice or Endpoints is for, as namespace/name."""
    labels = item["metadata"].get("labels", {})
    name = labels.get("kubernetes.io/service-name", item["metadata"]["name"])
    return f"{item['metadata']['namespace']}/{name}"


def _name(item: Object) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"
