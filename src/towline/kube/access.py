"""Ask the cluster what the user may do, before doing it (SelfSubjectAccessReview).

See https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from towline.kube.resources import SELF_SUBJECT_ACCESS_REVIEWS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from towline.kube.client import Client


@dataclass(frozen=True, slots=True)
class Right:
    """One thing to be allowed to do; `namespace` "" is the whole cluster, `name` "" any object."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        what = self.resource + (f".{self.group}" if self.group else "")
        sub = f"/{self.subresource}" if self.subresource else ""
        named = f" {self.name}" if self.name else ""
        where = f" in the namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {what}{sub}{named}{where}"


async def missing_rights(client: Client, rights: Iterable[Right]) -> list[Right]:
    """Those of `rights` that the user does not have, in their order; asked all at once.

    Raises ApiError when the cluster cannot be asked.
    """
    wanted = list(dict.fromkeys(rights))
    try:
        async with asyncio.TaskGroup() as group:
            asked = [(right, group.create_task(_is_allowed(client, right))) for right in wanted]
    except ExceptionGroup as failed:
        # All asked the same server: the first failure says what is the matter with it.
        raise failed.exceptions[0] from failed
    return [right for right, allowed in asked if not allowed.result()]


async def _is_allowed(client: Client, right: Right) -> bool:
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": right.resource,
        "subresource": right.subresource,
        "namespace": right.namespace,
        "name": right.name,
    }
    review = await client.create(
        SELF_SUBJECT_ACCESS_REVIEWS,
        {
            "apiVersion": SELF_SUBJECT_ACCESS_REVIEWS.api_version,
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {k: v for k, v in attributes.items() if v}},
        },
    )
    return bool(review.get("status", {}).get("allowed"))
