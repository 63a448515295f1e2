"""What lets an agent put back by itself what its session changed: a Role for that one object."""

from __future__ import annotations

from towline.cluster.job import MANAGED_BY
from towline.kube.access import Right
from towline.kube.resources import ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS, Object, Resource


def companions(
    name: str, namespace: str, changed: Resource, changed_name: str
) -> tuple[tuple[Resource, Object], ...]:
    """A service account of this name that may read and change one object, in order of making.

    See https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources.
    """
    metadata = {"name": name, "labels": {MANAGED_BY: "towline"}}
    rule = {
        "apiGroups": [changed.group],
        "resources": [changed.plural],
        "resourceNames": [changed_name],
        "verbs": ["get", "patch"],
    }
    rbac = ROLES.api_version
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    reference = {"apiGroup": ROLES.group, "kind": "Role", "name": name}
    return (
        (SERVICE_ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        (ROLES, {"apiVersion": rbac, "kind": "Role", "metadata": metadata, "rules": [rule]}),
        (
            ROLE_BINDINGS,
            {
                "apiVersion": rbac,
                "kind": "RoleBinding",
                "metadata": metadata,
                "subjects": [subject],
                "roleRef": reference,
            },
        ),
    )


def rights(namespace: str) -> list[Right]:
    """What it takes to make them, besides the rights that they give."""
    made = (SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS)
    return [Right("create", each.group, each.plural, namespace=namespace) for each in made]
