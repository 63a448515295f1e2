"""A namespace in which Istio demands mutual TLS, with a client that can."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab import istio
from lab.cluster import Lab
from tests.e2e import objects
from tests.e2e.istio.meshed import NAMESPACE, Meshed

LABELS = {"istio-injection": "enabled"}
STRICT = {
    "apiVersion": "security.istio.io/v1",
    "kind": "PeerAuthentication",
    "metadata": {"name": "default", "namespace": NAMESPACE},
    "spec": {"mtls": {"mode": "STRICT"}},
}


@pytest.fixture(scope="session")
def mesh(lab: Lab) -> None:
    """Istio in the lab; it stays, for the next run."""
    istio.ensure(lab.layout)


@pytest.fixture(scope="module")
def meshed(lab: Lab, mesh: None) -> Iterator[Meshed]:
    """The namespace, with `web` and, as Istio had them before Kubernetes 1.29, `old`.

    The service of `web` leads to a port by its name, that of `old` by its number.
    """
    old = {"sidecar.istio.io/nativeSidecar": "false"}
    there: list[dict[str, Any]] = [
        STRICT,
        *_application("web", "http", {}),
        *_application("old", 8080, old),
        _client(),
    ]
    with objects.namespace(lab, NAMESPACE, *there, labels=LABELS):
        for name in ("web", "old"):
            lab.kubectl("rollout", "status", f"deploy/{name}", "-n", NAMESPACE, timeout_seconds=120)
        ready = ("wait", "--for=condition=Ready", "pod/client", "--timeout=120s")
        lab.kubectl(*ready, "-n", NAMESPACE, timeout_seconds=130)
        yield Meshed(lab)


def _application(
    name: str, target_port: str | int, annotations: dict[str, str]
) -> list[dict[str, Any]]:
    container = {
        "name": "app",
        "image": "localhost/towline/sample:1",
        "env": [{"name": "NAME", "value": name}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
    }
    labels = {"app": name, "version": "v1"}
    template = {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    }
    ports = [{"name": "http", "port": 80, "targetPort": target_port}]
    return [deployment, objects.service(name, NAMESPACE, name, ports=ports)]


def _client() -> dict[str, Any]:
    """A pod with a sidecar, from which others may be asked."""
    container = {
        "name": "client",
        "image": "localhost/towline/python:3",
        "command": ["sleep", "infinity"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": NAMESPACE},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
