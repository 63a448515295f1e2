"""What the user must be allowed to do for each feature, asked before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from towline.errors import AccessError
from towline.kube.access import Right, missing_rights
from towline.kube.client import Client
from towline.kube.resources import Resource


def agent_rights(namespace: str) -> list[Right]:
    """What an agent of its own takes, besides a way for the link."""
    return [
        Right("create", "batch", "jobs", namespace=namespace),
        Right("patch", "batch", "jobs", namespace=namespace),
        Right("delete", "batch", "jobs", namespace=namespace),
        *(Right(verb, "", "pods", namespace=namespace) for verb in ("get", "list", "watch")),
    ]


def link_rights(namespace: str, way: str) -> list[Right]:
    """What a link takes by one of its two ways: `portforward`, or `exec` instead."""
    return [Right(verb, "", "pods", way, namespace=namespace) for verb in ("get", "create")]


def object_rights(resource: Resource, namespace: str, name: str) -> list[Right]:
    """What it takes to change one object, and to notice when others do."""
    return [
        Right(verb, resource.group, resource.plural, namespace=namespace, name=name)
        for verb in ("get", "list", "watch", "patch")
    ]


async def require(client: Client, namespace: str, rights: Iterable[Right]) -> None:
    """Raise AccessError, naming it, for the first right that is missing, the link's included."""
    forward = link_rights(namespace, "portforward")
    instead = link_rights(namespace, "exec")
    missing = await missing_rights(client, [*rights, *forward, *instead])
    if not (set(forward) & set(missing) and set(instead) & set(missing)):
        missing = [right for right in missing if right not in (*forward, *instead)]
    _refuse(missing)


async def require_all(client: Client, rights: Iterable[Right]) -> None:
    """Raise AccessError, naming it, for the first right that is missing; without a link."""
    _refuse(await missing_rights(client, rights))


def _refuse(missing: Sequence[Right]) -> None:
    if missing:
        raise AccessError(
            f"You may not {missing[0]}.",
            "Nothing was changed. Ask for the Role in docs/rights.md, or use another namespace "
            "with -n.",
        )
