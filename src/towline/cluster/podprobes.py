"""Which ports of a pod its kubelet speaks to, read from the pod's spec."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from towline.agent.kubelet import HTTP, OTHER

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS = ("postStart", "preStop")
# https://github.com/istio/istio/blob/master/pkg/kube/inject/app_probe.go
_TAKEN_OVER = "ISTIO_KUBE_APP_PROBERS"


def probed_ports(pod: Mapping[str, Any]) -> dict[int, str]:
    """Each TCP port that is probed, or called by a hook, and as what: `http` or `other`.

    `http` are requests whose header names the kubelet; all else cannot be told from anybody's:
    a mere connection, TLS, gRPC, and requests whose header the pod's author chose.
    Fields as in https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/.
    """
    found: dict[int, str] = {}
    for container in containers(pod):
        for handler in _handlers(container):
            for port, kind in _of_handler(handler, container):
                found[port] = OTHER if OTHER in (kind, found.get(port)) else HTTP
        for handler in _passed_on(container):
            # Others come from where all comes from, with a sidecar: they are the session's, too.
            http = (port for port, kind in _of_handler(handler, container) if kind == HTTP)
            found.update(dict.fromkeys(http, HTTP))
    return found


def containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The containers of a pod that its author wrote, those that begin or accompany it too."""
    spec = pod["spec"]
    return [*spec.get("initContainers", ()), *spec.get("containers", ())]


def _handlers(container: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    for probe in _PROBES:
        yield container.get(probe) or {}
    for hook in _HOOKS:
        yield (container.get("lifecycle") or {}).get(hook) or {}


def _passed_on(container: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The probes of other containers, which a sidecar of Istio has taken over."""
    for variable in container.get("env") or ():
        if variable["name"] == _TAKEN_OVER:
            with contextlib.suppress(ValueError, AttributeError):
                yield from json.loads(variable.get("value", "")).values()


def _of_handler(
    handler: Mapping[str, Any], container: Mapping[str, Any]
) -> Iterable[tuple[int, str]]:
    for kind in ("httpGet", "tcpSocket", "grpc"):
        action = handler.get(kind)
        port = _number(action["port"], container) if action else None
        if action and port is not None:
            told = kind == "httpGet" and action.get("scheme", "HTTP") == "HTTP"
            yield port, HTTP if told and not _has_own_name(action) else OTHER


def _number(port: int | str, container: Mapping[str, Any]) -> int | None:
    """A port's number; its name is one of its own container's ports."""
    if isinstance(port, int) or port.isdecimal():
        return int(port)
    for each in container.get("ports", ()):
        if each.get("name") == port:
            number: int = each["containerPort"]
            return number
    return None


def _has_own_name(action: Mapping[str, Any]) -> bool:
    headers = action.get("httpHeaders") or ()
    return any(header["name"].lower() == "user-agent" for header in headers)
