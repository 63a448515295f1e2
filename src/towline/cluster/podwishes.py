"""What users want of an agent's pod, besides what the agent needs of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from towline.cluster import podpatch, sidecar
from towline.cluster.quantity import Amount
from towline.errors import UsageError

PULL_POLICIES = ("IfNotPresent", "Always", "Never")
DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
#: A toleration of every taint.
ANY_TAINT = "*"

# What an agent takes when nobody says otherwise. Requests and limits are there for namespaces whose
# quota demands them.
_RESOURCES = {
    "requests": {"cpu": "10m", "memory": "32Mi"},
    "limits": {"memory": "512Mi"},
}
# On a busy node, processors are shared out by what is requested: all requests of a mesh's service
# come by its router.
_ROUTERS_RESOURCES = {
    "requests": {"cpu": "100m", "memory": "64Mi"},
    "limits": {"memory": "1Gi"},
}

# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_PREFIX = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_KEY = re.compile(rf"({_PREFIX}/)?{_NAME}")
_VALUE = re.compile(rf"({_NAME})?")
_LONGEST_PREFIX = 253

# By these an agent, what goes with it, and its Job's pod are known.
_OURS = (
    "app.kubernetes.io/name",
    "app.kubernetes.io/managed-by",
    "controller-uid",
    "job-name",
    *sidecar.NONE.annotations,
)
_OUR_PREFIXES = ("towline/", "batch.kubernetes.io/")


@dataclass(frozen=True, slots=True)
class PodWishes:
    """How an agent's pod is to be. `labels` are for all that is made for it, too.

    `pull_secrets` are the names of Secrets with which nodes pull the image
    (https://kubernetes.io/docs/concepts/containers/images/#specifying-imagepullsecrets-on-a-pod).
    `patch` is as :func:`towline.cluster.podpatch.load` gives it; it has the last word.
    """

    pull_policy: str = PULL_POLICIES[0]
    pull_secrets: tuple[str, ...] = ()
    service_account: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()
    priority_class: str = ""
    cpu: Amount | None = None
    memory: Amount | None = None
    dns_policy: str = ""
    patch: Mapping[str, Any] = field(default_factory=dict)

    def resources(self) -> dict[str, dict[str, str]]:
        """The agent's container's requests and limits."""
        return _resources(_RESOURCES, {"cpu": self.cpu, "memory": self.memory})

    def router_resources(self) -> dict[str, dict[str, str]]:
        """A router's beside it, whose memory is another matter: an agent's would be too little."""
        return _resources(_ROUTERS_RESOURCES, {"cpu": self.cpu})

    def pod_spec(self) -> dict[str, Any]:
        """What of a pod's spec they are, but for the containers and the service account."""
        chosen = {
            "nodeSelector": dict(self.node_selector),
            "tolerations": [dict(each) for each in self.tolerations],
            "priorityClassName": self.priority_class,
            "dnsPolicy": self.dns_policy,
        }
        secrets = [{"name": name} for name in self.pull_secrets]
        return {"imagePullSecrets": secrets, **{key: chosen[key] for key in chosen if chosen[key]}}


def _resources(
    usual: Mapping[str, Mapping[str, str]], wanted: Mapping[str, Amount | None]
) -> dict[str, dict[str, str]]:
    made = {kind: dict(values) for kind, values in usual.items()}
    for name, amount in wanted.items():
        if amount is not None:
            made["requests"][name] = amount.request
            made["limits"][name] = amount.limit
    return made


def parse_labels(texts: Iterable[str]) -> dict[str, str]:
    """Labels as `KEY=VALUE`. Raises UsageError, also for those that are towline's own."""
    return _own(_pairs("--label", texts, _check_label), "--label")


def parse_annotations(texts: Iterable[str]) -> dict[str, str]:
    """Annotations as `KEY=VALUE`. Raises UsageError, also for those that are towline's own."""
    return _own(_pairs("--annotation", texts, lambda _: ""), "--annotation")


def parse_node_selector(texts: Iterable[str]) -> dict[str, str]:
    """Labels of nodes as `KEY=VALUE`. Raises UsageError."""
    return _pairs("--node-selector", texts, _check_label)


def parse_tolerations(texts: Iterable[str]) -> tuple[Mapping[str, str], ...]:
    """Tolerations as `KEY[=VALUE][:EFFECT]`, `*` for any key. Raises UsageError.

    See https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/.
    """
    return tuple(_toleration(text) for text in texts)


def load_patch(file: str) -> Mapping[str, Any]:
    """The patch in a file. Raises UsageError, also for labels and annotations of towline's own."""
    found = podpatch.load(file)
    for own in found.get("metadata", {}).values():
        _refuse_ours(own, f"The patch {file}")
    return found


def _refuse_ours(keys: Iterable[str], where: str) -> None:
    """Raise UsageError for a label or annotation that towline gives itself."""
    for key in keys:
        if key in _OURS or key.startswith(_OUR_PREFIXES):
            raise UsageError(
                f"{where}: {key} is towline's own, by which the agent is found and removed.",
                "Choose another key.",
            )


def _own(pairs: dict[str, str], option: str) -> dict[str, str]:
    _refuse_ours(pairs, option)
    return pairs


def _pairs(option: str, texts: Iterable[str], wrong: Callable[[str], str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        fault = "" if equals else "it is to be KEY=VALUE"
        fault = fault or _check_key(key) or wrong(value)
        if not fault and found.get(key, value) != value:
            fault = f"{key} is {found[key]} already"
        if fault:
            raise UsageError(f"{option} {text}: {fault}.")
        found[key] = value
    return found


def _toleration(text: str) -> dict[str, str]:
    body, colon, effect = text.rpartition(":") if ":" in text else (text, "", "")
    key, equals, value = body.partition("=")
    fault = ""
    if colon and effect not in EFFECTS:
        fault = f"{effect or 'nothing'} is none of the effects {', '.join(EFFECTS)}"
    elif key == ANY_TAINT and equals:
        fault = f"a value needs a key, which {ANY_TAINT} is not"
    elif key != ANY_TAINT:
        fault = _check_key(key) or _check_label(value)
    if fault:
        raise UsageError(f"--toleration {text}: {fault}.", "It is KEY[=VALUE][:EFFECT], or '*'.")
    made = {"operator": "Equal" if equals else "Exists"}
    if key != ANY_TAINT:
        made["key"] = key
    if equals:
        made["value"] = value
    return {**made, **({"effect": effect} if effect else {})}


def _check_key(key: str) -> str:
    """What is wrong with a key of labels or annotations; "" for nothing."""
    if _KEY.fullmatch(key) and len(key.rpartition("/")[0]) <= _LONGEST_PREFIX:
        return ""
    return f"'{key}' cannot be a key: that is [PREFIX/]NAME of letters, digits, '-', '_' and '.'"


def _check_label(value: str) -> str:
    """What is wrong with a label's value; "" for nothing."""
    if _VALUE.fullmatch(value):
        return ""
    return f"'{value}' cannot be a value: that is at most 63 letters, digits, '-', '_' and '.'"
