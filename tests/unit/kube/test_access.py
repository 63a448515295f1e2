from __future__ import annotations

import pytest

from tests.fakes.apiserver import ApiServer
from towline.kube.access import Right, missing_rights
from towline.kube.call import Patience
from towline.kube.client import Client
from towline.kube.errors import ServerError

CREATE_JOBS = Right("create", "batch", "jobs", namespace="dev")
FORWARD = Right("create", "", "pods", "portforward", "dev")
LIST_NODES = Right("list", "", "nodes")
PATCH_WEB = Right("patch", "", "services", namespace="dev", name="web")


async def test_what_is_missing_is_given_in_order() -> None:
    async with (
        ApiServer(allows=lambda asked: asked["resource"] == "jobs") as server,
        Client(server.access()) as client,
    ):
        asked = [FORWARD, CREATE_JOBS, LIST_NODES, PATCH_WEB, FORWARD]

        assert await missing_rights(client, asked) == [FORWARD, LIST_NODES, PATCH_WEB]
        assert client.request_count == 4


async def test_each_part_of_a_right_is_asked_about() -> None:
    seen = []

    def note(asked: object) -> bool:
        seen.append(asked)
        return True

    async with ApiServer(allows=note) as server, Client(server.access()) as client:
        assert await missing_rights(client, [FORWARD]) == []
        assert await missing_rights(client, [PATCH_WEB]) == []

    assert seen == [
        {
            "verb": "create",
            "group": "",
            "resource": "pods",
            "subresource": "portforward",
            "namespace": "dev",
            "name": "",
        },
        {
            "verb": "patch",
            "group": "",
            "resource": "services",
            "subresource": "",
            "namespace": "dev",
            "name": "web",
        },
    ]


async def test_a_cluster_that_cannot_be_asked_is_an_error() -> None:
    async with (
        ApiServer() as server,
        Client(server.access(), Patience(attempts=1)) as client,
    ):
        server.fail(500, times=2)

        with pytest.raises(ServerError):
            await missing_rights(client, [FORWARD, CREATE_JOBS])


def test_a_right_reads_as_a_sentence() -> None:
    assert str(FORWARD) == "create pods/portforward in the namespace dev"
    assert str(CREATE_JOBS) == "create jobs.batch in the namespace dev"
    assert str(LIST_NODES) == "list nodes"
    assert str(PATCH_WEB) == "patch services web in the namespace dev"
