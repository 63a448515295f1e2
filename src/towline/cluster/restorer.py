"""What lets an agent put back by itself what its session changed: a Role for that one object."""

from __future__ import annotations

from towline.cluster.job import MANAGED_BY
from towline.kube.access import Right, missing_rights
from towline.kube.client import Client
from towline.kube.errors import Forbidden
from towline.kube.resources import ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS, Object, Resource


def companions(
    name: str, namespace: str, changed: Resource, changed_name: str, *, account: str = ""
) -> tuple[tuple[Resource, Object], ...]:
    """A service account of this name that may read and change one object, in order of making.

    With an `account` that is there already, that one may. See https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources.
    """
    metadata = {"name": name, "labels": {MANAGED_BY: "towline"}}
    rule = {
        "apiGroups": [changed.group],
        "resources": [changed.plural],
        "resourceNames": [changed_name],
        "verbs": ["get", "patch"],
    }
    rbac = ROLES.api_version
    subject = {"kind": "ServiceAccount", "name": account or name, "namespace": namespace}
    reference = {"apiGroup": ROLES.group, "kind": "Role", "name": name}
    new = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    return (
        *(() if account else ((SERVICE_ACCOUNTS, new),)),
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


async def may_be_made(
    client: Client, namespace: str, changed: Resource, changed_name: str, *, account: str = ""
) -> bool:
    """Whether the user may make them.

    That takes, besides the rights below, to hold by a Role what is given by one, as Kubernetes
    has it: who may change the object for another reason may not. Nothing is made.
    See https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping.
    """
    if await missing_rights(client, rights(namespace, account=account)):
        return False
    trial = companions("towline-trial", namespace, changed, changed_name)
    role = next(body for resource, body in trial if resource == ROLES)
    try:
        await client.create(ROLES, role, namespace=namespace, dry_run=True)
    except Forbidden:
        return False
    return True


def rights(namespace: str, *, account: str = "") -> list[Right]:
    """What it takes to make them, besides the rights that they give."""
    made = (*(() if account else (SERVICE_ACCOUNTS,)), ROLES, ROLE_BINDINGS)
    return [Right("create", each.group, each.plural, namespace=namespace) for each in made]
