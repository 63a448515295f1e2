"""Whether an agent may be given the right to put an object back."""

from __future__ import annotations

import pytest

from tests.fakes.apihandlers import Attributes
from tests.fakes.apiserver import ApiServer
from towline.cluster import restorer
from towline.kube.call import Patience
from towline.kube.client import Client
from towline.kube.resources import SERVICES

SECONDS = 10.0


def everything(_: Attributes) -> bool:
    return True


def no_bindings(asked: Attributes) -> bool:
    return asked["resource"] != "rolebindings"


@pytest.mark.parametrize(("allowed", "may"), [(everything, True), (no_bindings, False)])
async def test_rights_are_asked_for(allowed, may: bool) -> None:
    async with ApiServer() as server, Client(server.access(), Patience(attempts=1)) as client:
        server.allows = allowed
        assert await restorer.may_be_made(client, "default", SERVICES, "web") is may


async def test_right_that_is_not_the_users_to_give_is_seen_and_nothing_is_made() -> None:
    """As with users whom something else than RBAC lets change the object."""
    async with ApiServer() as server, Client(server.access(), Patience(attempts=1)) as client:
        asked: list[Attributes] = []

        def allows(request: Attributes) -> bool:
            asked.append(request)
            # The access review comes first, and knows nothing of it.
            return sum(each["resource"] == "roles" for each in asked) < 2

        server.allows = allows
        assert not await restorer.may_be_made(client, "default", SERVICES, "web")
        server.allows = everything
        assert await restorer.may_be_made(client, "default", SERVICES, "web")
        assert {each.query.get("dryRun") for each in server.requests if "roles" in each.path} == {
            "All"
        }
