"""Users of the cluster: a kubeconfig file for each, and the rights that go with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from lab import kubeconfigs, pki, progress
from lab.errors import LabError
from lab.kubectl import Kubectl
from lab.layout import Layout

Rule = Mapping[str, Iterable[str]]

ADMIN = "admin"
# May do as much, and is left out of the audit log: for who looks at all there is, again and again.
OBSERVER = "observer"
NAMESPACE_ONLY = "namespace-only"

# What `tow connect` needs in one namespace (docs/rights.md), and to say why a start takes long.
CONNECT_RULES: tuple[Rule, ...] = (
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
)


_RIGHTS_SECONDS = 30.0
# Of these everybody may create some, about themselves.
_EVERYBODYS = {"authentication.k8s.io", "authorization.k8s.io"}


def ensure_masters(layout: Layout) -> None:
    """Make the users who may do anything."""
    for name in (ADMIN, OBSERVER):
        if not _file(layout, name).exists():
            pair = pki.issue(layout, name, group="system:masters")
            kubeconfigs.write(layout, _file(layout, name), name, pair)


def kubeconfig(
    layout: Layout,
    name: str,
    rules: Iterable[Rule] = (),
    *,
    namespace: str = "default",
) -> Path:
    """Make a user with a Role of just `rules` (PolicyRule objects) in `namespace`, and return
    the path of its kubeconfig once they hold. Called again, it changes the rules.
    """
    rules = list(rules)
    kubectl = Kubectl(layout)
    kubectl.run("apply", "-n", namespace, "-f", "-", stdin=_role(name, rules))
    progress.wait_for(
        f"the rights of {name}",
        lambda: _held(kubectl, name, namespace) == _comparable(rules),
        _RIGHTS_SECONDS,
        f"See 'uv run lab exec laptop -- kubectl get rolebindings -n {namespace}'.",
    )
    target = _file(layout, name)
    if not target.exists():
        pair = pki.issue(layout, name)
        kubeconfigs.write(layout, target, name, pair, namespace=namespace)
    return target


def find(layout: Layout, name: str) -> Path:
    """The kubeconfig of a user. Raises LabError when there is no such user."""
    if not _file(layout, name).exists():
        there = ", ".join(sorted(path.stem for path in layout.users.glob("*.yaml")))
        raise LabError(f"There is no user '{name}'; there are: {there or 'none, the lab is down'}.")
    return _file(layout, name)


def _file(layout: Layout, name: str) -> Path:
    return layout.users / f"{name}.yaml"


def _held(kubectl: Kubectl, name: str, namespace: str) -> list[str]:
    """The rules by which the API server judges the user now: it hears of a change a bit later."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    words = ("create", "--raw", path, f"--as={name}", "-f", "-")
    status = json.loads(kubectl.run(*words, stdin=json.dumps(review)))["status"]
    return _comparable(
        rule for rule in status["resourceRules"] if not _EVERYBODYS.issuperset(rule["apiGroups"])
    )


def _comparable(rules: Iterable[Rule]) -> list[str]:
    """The same text for the same rights, in whatever order they are given."""
    return sorted(
        json.dumps({key: sorted(values) for key, values in rule.items()}, sort_keys=True)
        for rule in rules
    )


def _role(name: str, rules: Iterable[Rule]) -> str:
    group = "rbac.authorization.k8s.io"
    head = {"apiVersion": f"{group}/v1", "metadata": {"name": name}}
    granted = [{key: list(value) for key, value in rule.items()} for rule in rules]
    role = {**head, "kind": "Role", "rules": granted}
    binding = {
        **head,
        "kind": "RoleBinding",
        "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{"apiGroup": group, "kind": "User", "name": name}],
    }
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [role, binding]})
