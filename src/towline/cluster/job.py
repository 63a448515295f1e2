"""The Job that carries the agent, as an object for the Kubernetes API."""

from __future__ import annotations

import getpass
import itertools
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from towline.agent.intercept import Intercepted
from towline.agent.undo import AGENT_LABEL
from towline.agent.undoing import Changed
from towline.cluster import bundle, defaults, podpatch, router, sidecar
from towline.cluster.podwishes import PodWishes
from towline.cluster.router import RouterSpec
from towline.cluster.sidecar import Sidecar
from towline.kube.resources import Object, Resource
from towline.wire.target import Port

MANAGED_BY = "app.kubernetes.io/managed-by"
ROLE = "towline/role"
OWNER = "towline/owner"
SINCE = "towline/since"
#: Of a shared agent's Job: that others than its maker want it; and its maker's options.
JOINED = "towline/joined"
WISHES = "towline/wishes"
#: What the names of Jobs, and of what belongs to them, begin with.
PREFIX = "towline-"
SELECTOR = f"{MANAGED_BY}=towline"

AGENT_PORT = 7070
CONTAINER = "agent"

# How much longer than the grace time a Job whose agent never ran may stay. It covers the
# Job controller's and the garbage collector's own delays.
LEASE_MARGIN_SECONDS = 15

# How often a Job on which other things rely replaces its pod: whenever that is lost.
RESTARTS = 1000
# How long connections that go through a router may last after the end: others' are among them.
ROUTER_DRAIN_SECONDS = 300
_UNDO = "--undo="
# An ordinary user may listen on ports below 1024, too.
_ANY_PORT = {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}


def owner_name() -> str:
    """The person and machine that an object of ours belongs to: `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def new_name(owner: str) -> str:
    """A name for a Job, and what belongs to it, that nothing else has."""
    return f"{PREFIX}{label_part(owner)}-{secrets.token_hex(4)}"


def now() -> str:
    """The time as annotations of ours have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """What a Job and the agent in it are to be.

    `grace_seconds` is how long the agent waits for a client that is gone. `pod` is what the user
    wants of its pod. `intercepted` are the ports that the agent listens on for the session, with
    names in `port_names` if they need any; then other things in the cluster rely on its Job, which
    therefore replaces a lost pod by itself.

    `companions` are made before the pod, and go with the Job. `changed` is what the agent is to
    undo when its client is gone; with `may_undo` it has the service account for that:
    `service_account`. `linger_seconds`, if not 0, is for how long after the last connection an
    agent that ends goes on to pass on what comes. With a `router` the pod has that as well, and
    with a `sidecar` one of Istio's. `fixed_link_port` is known of an agent that somebody else has
    made. One that is `shared` serves any number of sessions, which are told `wishes`: how its maker
    wanted it.
    """

    image: str = defaults.IMAGE
    grace_seconds: int = defaults.GRACE_SECONDS
    role: str = "uplink"
    owner: str = field(default_factory=owner_name)
    name: str = field(default_factory=lambda: new_name(owner_name()))
    intercepted: tuple[Intercepted, ...] = ()
    port_names: Mapping[Port, str] = field(default_factory=dict)
    companions: tuple[tuple[Resource, Object], ...] = ()
    changed: Changed | None = None
    may_undo: bool = False
    linger_seconds: int = 0
    router: RouterSpec | None = None
    fixed_link_port: int = 0
    pod: PodWishes = field(default_factory=PodWishes)
    sidecar: Sidecar | None = None
    shared: bool = False
    wishes: str = ""

    @property
    def relied_on(self) -> bool:
        """Whether other things in the cluster need this very Job to go on."""
        return bool(self.intercepted or self.companions or self.router)

    @property
    def service_account(self) -> str:
        """That of the pod: the user's, or a companion of the Job's name, or "" for the default."""
        return self.pod.service_account or (self.name if self.may_undo else "")

    @property
    def link_port(self) -> int:
        """The port, on the pod's loopback, on which the agent waits for the session."""
        if self.fixed_link_port:
            return self.fixed_link_port
        taken = {each.port.number for each in self.intercepted}
        taken |= {each.number for each in self.router.ports} if self.router else set()
        return next(port for port in itertools.count(AGENT_PORT) if port not in taken)

    @property
    def lease_seconds(self) -> int:
        """How long the Job lives when nobody renews it before its agent runs."""
        return self.grace_seconds + LEASE_MARGIN_SECONDS


def manifest(spec: AgentSpec) -> dict[str, Any]:
    """The Job of one agent. Its pod is not made before its companions are: see `parallelism`.

    It satisfies the Restricted Pod Security Standard
    (https://kubernetes.io/docs/concepts/security/pod-security-standards/). Until the session
    has linked to the agent and lifts it, `activeDeadlineSeconds` bounds the life of a Job
    whose pod cannot start; `ttlSecondsAfterFinished` removes whatever has ended. A pod that
    is lost is not replaced by the Job, whose back-off is 10 s, but by the session, unless other
    things rely on this very Job.
    """
    labels = {
        **spec.pod.labels,
        "app.kubernetes.io/name": "towline-agent",
        MANAGED_BY: "towline",
        ROLE: spec.role,
    }
    annotations = {**spec.pod.annotations, OWNER: spec.owner, SINCE: now()}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": spec.name,
            "labels": labels,
            "annotations": {**annotations, **({WISHES: spec.wishes} if spec.shared else {})},
        },
        "spec": {
            "parallelism": 0 if spec.companions else 1,
            "backoffLimit": RESTARTS if spec.relied_on else 0,
            "ttlSecondsAfterFinished": 0,
            "activeDeadlineSeconds": spec.lease_seconds,
            "template": podpatch.merge(_pod_template(spec, labels, annotations), spec.pod.patch),
        },
    }


def _pod_template(
    spec: AgentSpec, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> dict[str, Any]:
    """The pod, which bears what its Job bears."""
    mesh = spec.sidecar or sidecar.NONE
    return {
        "metadata": {
            "labels": {**labels, AGENT_LABEL: spec.name, **mesh.labels},
            "annotations": {**annotations, **mesh.annotations},
        },
        "spec": _pod_spec(spec),
    }


def container(spec: AgentSpec, name: str, link_port: int) -> dict[str, Any]:
    """What an agent's container has in common wherever it runs; to `args` more may be added."""
    return {
        "name": name,
        "image": spec.image,
        "imagePullPolicy": spec.pod.pull_policy,
        "command": list(bundle.command()),
        "args": [
            f"--port={link_port}",
            f"--grace-seconds={spec.grace_seconds}",
            *(f"--intercept={each}" for each in spec.intercepted),
            *([f"{_UNDO}{spec.changed.to_json()}"] if spec.changed else []),
            *_lingering(spec),
            *([router.argument(spec.router)] if spec.router else []),
            *(["--quit-sidecar"] if spec.sidecar else []),
            *(["--shared"] if spec.shared else []),
        ],
    }


def _pod_spec(spec: AgentSpec) -> dict[str, Any]:
    containers = [_agent_container(spec)]
    if spec.router:
        containers = [
            router.beside(containers[0]),
            {
                **router.container(
                    spec.router, containers[0]["securityContext"], spec.pod.router_resources()
                ),
                "imagePullPolicy": spec.pod.pull_policy,
            },
        ]
    return {
        "restartPolicy": "OnFailure" if spec.relied_on else "Never",
        "automountServiceAccountToken": spec.may_undo,
        **({"serviceAccountName": spec.service_account} if spec.service_account else {}),
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        **spec.pod.pod_spec(),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
            # One of the sysctls that the Pod Security Standards call safe.
            "sysctls": [_ANY_PORT] if spec.intercepted or spec.router else [],
        },
        "containers": containers,
        **({"volumes": router.volumes(spec.router)} if spec.router else {}),
    }


def _agent_container(spec: AgentSpec) -> dict[str, Any]:
    return {
        **container(spec, CONTAINER, spec.link_port),
        "ports": [_container_port(each.port, spec) for each in spec.intercepted],
        "resources": spec.pod.resources(),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _lingering(spec: AgentSpec) -> list[str]:
    """How long an agent that ends passes on what still comes.

    Somebody who comes again and again does not keep it for ever.
    """
    seconds = spec.linger_seconds
    quiet = [f"--quiet-seconds={seconds}"] if seconds else []
    if spec.router:
        return [*quiet, f"--drain-seconds={ROUTER_DRAIN_SECONDS}"]
    return [*quiet, f"--drain-seconds={2 * seconds}"] if seconds else []


def _container_port(port: Port, spec: AgentSpec) -> dict[str, Any]:
    named = {"name": spec.port_names[port]} if port in spec.port_names else {}
    return {"containerPort": port.number, "protocol": port.protocol.name, **named}


def changed_by(job: Object) -> Changed | None:
    """What the agent of a Job is told to undo, as its arguments have it; None for nothing."""
    try:
        arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
        told = [each[len(_UNDO) :] for each in arguments if each.startswith(_UNDO)]
        return Changed.parse(told[0]) if told else None
    except (LookupError, TypeError, ValueError, AttributeError):
        return None  # it is not as this version makes them


def is_ours(thing: Object) -> bool:
    """Whether a session has made an object."""
    return (thing["metadata"].get("labels") or {}).get(MANAGED_BY) == "towline"


def label_part(text: str) -> str:
    """What of `text` may stand in an object's name (RFC 1123 label), at most 30 characters."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:30].strip("-") or "user"
