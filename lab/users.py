"""Users of the cluster: a kubeconfig file for each, and the rights that go with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from lab import kubeconfigs, pki
from lab.errors import LabError
from lab.kubectl import Kubectl
from lab.layout import Layout

Rule = Mapping[str, Iterable[str]]

ADMIN = "admin"
NAMESPACE_ONLY = "namespace-only"

# What `tow connect` needs in one namespace (docs/rights.md), and to say why a start takes long.
CONNECT_RULES: tuple[Rule, ...] = (
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
)


def ensure_admin(layout: Layout) -> None:
    """Make the user who may do anything."""
    if not _file(layout, ADMIN).exists():
        pair = pki.issue(layout, ADMIN, group="system:masters")
        kubeconfigs.write(layout, _file(layout, ADMIN), ADMIN, pair)


def kubeconfig(
    layout: Layout,
    name: str,
    rules: Iterable[Rule] = (),
    *,
    namespace: str = "default",
) -> Path:
    """Make a user with a Role of just `rules` (PolicyRule objects) in `namespace`, and return
    the path of its kubeconfig. Called again, it changes the rules.
    """
    Kubectl(layout).run("apply", "-n", namespace, "-f", "-", stdin=_role(name, rules))
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
