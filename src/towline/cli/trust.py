"""What a file that comes with somebody's clone may set, and why it may not set the rest.

Whoever clones a repository has not read what is in it. What it sets must therefore neither run a
program, here or in the cluster, nor lead credentials or requests to where its author wants them.
An option that is not named here is refused: a new one has to be looked at first.
"""

from __future__ import annotations

from typing import Any

_HARMLESS = frozenset(
    {
        "agent",
        "all-namespaces",
        "container",
        "context",
        "cpu",
        "detach",
        "dns-cache",
        "dns-policy",
        "dry-run",
        "exclude",
        "expose",
        "grace",
        "image-pull-policy",
        "image-pull-secret",
        "inject",
        "match",
        "memory",
        "mode",
        "namespace",
        "node-selector",
        "older-than",
        "output",
        "pods",
        "proxy-protocol",
        "schema",
        "strict",
        "timeout",
        "tls-secret",
        "toleration",
        "version-mark",
        "watch",
    }
)
_REASONS = {
    "address": "it would open ports of this machine, and so the cluster, to others",
    "annotation": "programs of the cluster may give the agent's pod more than it has for one",
    "cluster-domain": "the cluster would answer for names that are not its own",
    "domain": "the cluster would answer for names that are not its own",
    "exclude-domain": "names of the cluster would be asked elsewhere",
    "listen": "it would open ports of this machine, and so the cluster, to others",
    "external": "it would open a program of this machine to whoever reaches the cluster",
    "force": "it would end other people's sessions",
    "image": "it is a program that would run in the cluster with your rights",
    "include": "it would lead connections of this machine to a cluster",
    "kubeconfig": "a kubeconfig can run programs, and lead your credentials to another server",
    "label": "services may lead other people's requests to the agent's pod for one",
    "pod-patch": "it can run any program in the cluster with your rights",
    "priority": "it would take other people's requests",
    "priority-class": "other people's pods would be ended to make room",
    "registry": "what is pulled from there would run in the cluster with your rights",
    "router-image": "it is a program that would run in the cluster with your rights",
    "share": "your requests would go by an agent that somebody else may have made",
    "via": "your requests would go by a pod of its author's choice",
    "service-account": "what runs in the agent's pod would have its rights",
}
_UNKNOWN = "it is not known to be harmless there"


def refusal(name: str, value: Any) -> str:
    """Why a clone's file may not set this option to this value; "" that it may."""
    if name == "expose":
        return _elsewhere(value)
    return "" if name in _HARMLESS else _REASONS.get(name, _UNKNOWN)


def _elsewhere(exposed: tuple[str, ...] | None) -> str:
    """Whether one of the exposed programs is not of this machine, so that others get requests."""
    from towline.features.local import expose  # noqa: PLC0415

    if all(wish.host == expose.LOCALHOST for wish in expose.wishes(exposed or ())):
        return ""
    return "it would lead requests of the cluster to another host"
