"""How each refusal of the API server is told to someone who is new to Kubernetes.

One function for each kind of error; all take the answer and what was asked for, and give the
summary, one line, and the hint, which says what to do next.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from towline.kube.resources import Action
from towline.kube.status import Status

Words = tuple[str, str]
Wording = Callable[[Status, Action], Words]


def unauthorized(status: Status, what: Action) -> Words:
    """401."""
    return (
        "The cluster did not accept your credentials (they may have expired)",
        "Sign in to the cluster again, then check with: kubectl auth whoami",
    )


def forbidden(status: Status, what: Action) -> Words:
    """403, by RBAC, by admission, or because the namespace is ending."""
    if status.has_cause("NamespaceTerminating"):
        return (
            f"The namespace {what.namespace} is being deleted, so nothing can be made in it",
            "Use another namespace, or wait until it is gone and make it again",
        )
    if 'violates PodSecurity "' in status.message:
        return (
            f"The Pod Security Standard of {_the_namespace(what)} refused to {what.deed}: "
            + status.message.partition("violates ")[2],
            "Ask the owner of the namespace for another one, or for a laxer level",
        )
    if "admission webhook" in status.message or "ValidatingAdmissionPolicy" in status.message:
        return (
            f"A policy of the cluster refused to {what}: {status.message}",
            "The policy's own message says what it wants; its owner can make an exception",
        )
    if 'User "system:anonymous"' in status.message:
        return (
            f"You may not {what}: the cluster does not know who you are",
            "Sign in to the cluster, or use a context of the kubeconfig that has credentials",
        )
    user = re.search(r'User "([^"]+)" cannot', status.message)
    who = f"the user {user[1]}" if user else "you"
    return f"{_first_upper(who)} may not {what}", _ask_for(what)


def quota_exceeded(status: Status, what: Action) -> Words:
    """403, because a ResourceQuota is full."""
    quota = re.search(r"exceeded quota: ([^,]+), (requested: .*)", status.message)
    name, numbers = (quota[1], quota[2]) if quota else ("", status.message)
    return (
        f"The quota {name} of {_the_namespace(what)} leaves no room to {what.deed}: {numbers}",
        (
            "Free something in the namespace, or ask its owner for more; the state of it: "
            f"kubectl describe quota{_in(what)}"
        ),
    )


def not_found(status: Status, what: Action) -> Words:
    """404, of an object, its namespace, or a whole resource type."""
    if status.kind == "namespaces" or (what.resource == "namespaces" and what.name):
        return (
            f"There is no namespace {status.name or what.name}",
            "See what namespaces there are: kubectl get namespaces",
        )
    if status.name:
        where = f" in {_the_namespace(what)}" if what.namespace else ""
        plural = status.kind or what.resource
        return (
            f"There is no {status.name} among the {plural}{where}",
            f"See what there is: kubectl get {plural}{_in(what)}",
        )
    return (
        f"The server knows nothing at {what.path}",
        (
            "Check that the server address in the kubeconfig is that of a Kubernetes API, "
            "and that the cluster is not too old"
        ),
    )


def already_exists(status: Status, what: Action) -> Words:
    """409, on a create."""
    where = f" in {_the_namespace(what)}" if what.namespace else ""
    plural = status.kind or what.resource
    return (
        f"The name {status.name} is already taken among the {plural}{where}",
        f"Look at what has it: kubectl get {plural} {status.name}{_in(what)}",
    )


def conflict(status: Status, what: Action) -> Words:
    """409, on a change."""
    return (
        f"Somebody else changed {_the_object(what)} at the same moment: {status.message}",
        "Try again",
    )


def gone(status: Status, what: Action) -> Words:
    """410."""
    return (
        f"The server no longer keeps the state from which to {what}: {status.message}",
        "Try again",
    )


def invalid(status: Status, what: Action) -> Words:
    """400, 422 and the rarer 4xx."""
    causes = "; ".join(f"{c.field}: {c.message}" if c.field else c.message for c in status.causes)
    why = causes or status.message or f"status {status.code}"
    return (
        f"The server refused to {what}: {why}",
        (
            "Check the names and options given; if they are right, this cluster's version may "
            "differ from what towline knows"
        ),
    )


def too_many_requests(status: Status, what: Action) -> Words:
    """429."""
    return (
        f"The API server has too much to do to {what}",
        "Try again in a minute; it limits every client when it is busy",
    )


def server_error(status: Status, what: Action) -> Words:
    """5xx, and what is not from an API server at all."""
    if 300 <= status.code < 400:
        return (
            (
                "The server in the kubeconfig does not answer as a Kubernetes API does: "
                f"it redirects elsewhere (status {status.code})"
            ),
            "Check the server address in the kubeconfig; it may be that of a sign-in page",
        )
    message = f": {status.message}" if status.message else ""
    return (
        f"The API server failed to {what} (status {status.code}){message}",
        "Try again in a minute; if it stays so, the cluster is not well: kubectl get --raw /readyz",
    )


def _ask_for(what: Action) -> str:
    if not what.resource:
        return "Ask the cluster's administrator for this right"
    resource = what.resource + (f".{what.group}" if what.group else "")
    sub = f" --subresource={what.subresource}" if what.subresource else ""
    return (
        "Ask the cluster's administrator for this right; to check it: "
        f"kubectl auth can-i {what.verb} {resource}{sub}{_in(what)}"
    )


def _the_namespace(what: Action) -> str:
    return f"the namespace {what.namespace}" if what.namespace else "the cluster"


def _the_object(what: Action) -> str:
    return f"{what.resource} {what.name}".strip() or what.path


def _in(what: Action) -> str:
    return f" -n {what.namespace}" if what.namespace else ""


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]
