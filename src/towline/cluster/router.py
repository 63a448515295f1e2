"""The router as a second container of an agent's pod, for Kubernetes' API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from towline.agent.routing import TABLE
from towline.wire.target import Port

CONTAINER = "router"
#: What agent and router share: the router's files, and its admin socket.
FOLDER = "/router"
#: Where Secrets are, each in a folder of its name.
SECRETS = "/secrets"

_VOLUME = {"name": "router", "emptyDir": {"sizeLimit": "64Mi"}}
_MOUNT = {"name": "router", "mountPath": FOLDER}
# The kubelet starts a pod's containers in their order, each when the one before is through this:
# https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/
_UNTIL_PREPARED = f"""\
import os,time
while not os.path.exists('{FOLDER}/{TABLE}'): time.sleep(.02)
"""


@dataclass(frozen=True, slots=True)
class RouterSpec:
    """What the router is to be: its image, its command, its first `files` by name.

    `ports` are those it listens on for the cluster. `secrets` are the names of Secrets that it
    reads.
    """

    image: str
    command: tuple[str, ...]
    files: Mapping[str, str]
    ports: tuple[Port, ...]
    secrets: tuple[str, ...] = ()
    port_names: Mapping[Port, str] = field(default_factory=dict)


def argument(spec: RouterSpec) -> str:
    """The agent's argument that tells it of the router."""
    text = json.dumps({"folder": FOLDER, "files": dict(spec.files)})
    return f"--router={_literal(text)}"


def beside(container: Mapping[str, Any]) -> dict[str, Any]:
    """The agent's container where there is a router: it shares a folder, and is ready first."""
    prepared = {"exec": {"command": ["python3", "-c", _UNTIL_PREPARED]}}
    return {**container, "volumeMounts": [_MOUNT], "lifecycle": {"postStart": prepared}}


def container(
    spec: RouterSpec, security: Mapping[str, Any], resources: Mapping[str, Any]
) -> dict[str, Any]:
    """The router's container, ready when it listens."""
    secrets = [_secret_mount(name) for name in spec.secrets]
    return {
        "name": CONTAINER,
        "image": spec.image,
        "command": [_literal(each) for each in spec.command],
        "ports": [_container_port(each, spec) for each in spec.ports],
        "readinessProbe": {
            "tcpSocket": {"port": spec.ports[0].number},
            "periodSeconds": 1,
            "failureThreshold": 3,
        },
        "resources": dict(resources),
        "securityContext": dict(security),
        "volumeMounts": [_MOUNT, *secrets],
    }


def volumes(spec: RouterSpec) -> list[dict[str, Any]]:
    """The volumes of a pod with a router."""
    secrets = [{"name": f"secret-{name}", "secret": {"secretName": name}} for name in spec.secrets]
    return [_VOLUME, *secrets]


def _secret_mount(name: str) -> dict[str, Any]:
    return {"name": f"secret-{name}", "mountPath": f"{SECRETS}/{name}", "readOnly": True}


def _container_port(port: Port, spec: RouterSpec) -> dict[str, Any]:
    named = {"name": spec.port_names[port]} if port in spec.port_names else {}
    return {"containerPort": port.number, "protocol": port.protocol.name, **named}


def _literal(text: str) -> str:
    """A text in which Kubernetes finds no `$(NAME)` to expand: outside JSON, `$$` stands for `$`.

    See https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/.
    """
    return text.replace("$", "$$")
