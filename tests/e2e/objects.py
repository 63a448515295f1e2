"""Things in the cluster that a test needs for a while, and users with just some rights."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query

from lab import namespaces, settings
from lab.cluster import Lab
from lab.errors import LabError
from lab.users import Rule
from tests.e2e.waiting import until

MANAGED = "app.kubernetes.io/managed-by=towline"

Object = dict[str, Any]

_LOOK_SECONDS = 2.0
_SERVED_SECONDS = 30.0


@contextmanager
def applied(lab: Lab, *objects: Object) -> Iterator[None]:
    """Objects that are there meanwhile; they are gone when this ends."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    lab.kubectl("apply", "-f", "-", stdin=text)
    try:
        yield
    finally:
        lab.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=text)


@contextmanager
def serving(lab: Lab, made: Object) -> Iterator[None]:
    """A Service that is there meanwhile; the cluster's DNS and network know of it already."""
    name, namespace = made["metadata"]["name"], made["metadata"]["namespace"]
    query = dns.message.make_query(f"{name}.{namespace}.svc.cluster.local", "A")

    def is_served() -> bool:
        with suppress(dns.exception.DNSException, OSError):
            reply = dns.query.udp(query, settings.CLUSTER_DNS, timeout=_LOOK_SECONDS)
            for address in [record.to_text() for rrset in reply.answer for record in rrset]:
                port = made["spec"]["ports"][0]["port"]
                socket.create_connection((address, port), _LOOK_SECONDS).close()
                return True
        return False

    with applied(lab, made):
        until(
            lambda: namespaces.call_inside(lab.layout.node_net, is_served),
            _SERVED_SECONDS,
            f"the service {name} to be served",
        )
        yield


@contextmanager
def namespace(
    lab: Lab, name: str, *objects: Object, labels: Mapping[str, str] | None = None
) -> Iterator[str]:
    """A namespace with objects in it, complete with what Kubernetes itself puts there.

    Its quotas hold already.
    """

    def is_complete() -> bool:
        try:
            lab.kubectl("get", "serviceaccount/default", "configmap/kube-root-ca.crt", "-n", name)
        except LabError:
            return False
        quotas = lab.kubectl_json("resourcequotas", "-n", name)["items"]
        return all("hard" in quota.get("status", {}) for quota in quotas)

    metadata = {"name": name, "labels": dict(labels or {})}
    head = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    with applied(lab, head, *objects):
        until(is_complete, 30, f"the namespace {name} to be complete")
        yield name


@contextmanager
def user(lab: Lab, name: str, rules: Iterable[Rule], namespace: str = "default") -> Iterator[Path]:
    """The kubeconfig of a user with just these rights in a namespace."""
    file = lab.add_user(name, rules, namespace=namespace)
    try:
        yield file
    finally:
        lab.kubectl("delete", f"role/{name}", f"rolebinding/{name}", "-n", namespace)


def service(name: str, namespace: str, app: str, **spec: Any) -> Object:
    """A Service for the sample application's pods, port 80."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}], **spec},
    }


def quota(namespace: str, resource: str) -> Object:
    """A ResourceQuota that leaves nothing of a resource, such as `count/jobs.batch`."""
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "full", "namespace": namespace},
        "spec": {"hard": {resource: "0"}},
    }


def addresses_of_service(lab: Lab, name: str, namespace: str = "default") -> list[str]:
    """Its cluster IPs, IPv4 first."""
    found: list[str] = lab.kubectl_json("service", name, "-n", namespace)["spec"]["clusterIPs"]
    return by_family(found)


def addresses_of_pod(lab: Lab, name: str, namespace: str = "default") -> list[str]:
    """Its addresses, IPv4 first."""
    status = lab.kubectl_json("pod", name, "-n", namespace)["status"]
    return by_family(entry["ip"] for entry in status["podIPs"])


def by_family(addresses: Iterable[str]) -> list[str]:
    """IPv4 first."""
    return sorted(addresses, key=lambda address: ":" in address)


def agents(lab: Lab) -> list[Object]:
    """The Jobs of sessions that there are, in all namespaces; asked from the node."""
    done = lab.run_in_node(["kubectl", "get", "jobs", "-A", "-l", MANAGED, "-o", "json"])
    assert done.returncode == 0, done.stderr
    found: list[Object] = json.loads(done.stdout)["items"]
    return found


def pod_of_agent(lab: Lab, session_status: Object) -> Object:
    """The pod of a session's agent."""
    found: Object = lab.kubectl_json(
        "pod", session_status["agent"], "-n", session_status["namespace"]
    )
    return found


def processes_of_pod(uid: str) -> list[int]:
    """The processes in a pod's cgroup but its sandbox's, which does nothing."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and uid in (entry / "cgroup").read_text():
                if b"/pause" not in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that are still below it."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]
