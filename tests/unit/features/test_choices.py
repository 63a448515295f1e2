import pytest

from tests.fakes.apiserver import ApiServer
from towline.cluster.job import MANAGED_BY
from towline.errors import UsageError
from towline.features import choices
from towline.kube.client import Client
from towline.kube.errors import NotFound

PORTS = [
    {"port": 80, "name": "http"},
    {"port": 53, "protocol": "UDP"},
]
CONTAINERS = [{"name": "c", "ports": [{"containerPort": 8080, "name": "web"}]}]
TEMPLATE = {"template": {"spec": {"containers": CONTAINERS}}}


@pytest.fixture
async def server():
    async with ApiServer() as server:
        for root, plural, name, spec in (
            ("api/v1", "services", "web", {"ports": PORTS}),
            ("api/v1", "pods", "web-0", {"containers": CONTAINERS}),
            ("apis/apps/v1", "deployments", "web", TEMPLATE),
            ("apis/apps/v1", "statefulsets", "db", TEMPLATE),
        ):
            made = {"metadata": {"name": name}, "spec": spec}
            await server.add(root, plural, made, namespace="default")
        ours = {"name": "twin", "labels": {MANAGED_BY: "towline"}}
        await server.add("api/v1", "services", {"metadata": ours, "spec": {}}, namespace="default")
        yield server


@pytest.fixture
async def client(server):
    async with Client(server.access()) as client:
        yield client


async def test_namespaces(client):
    assert set(await choices.namespaces(client)) == {"default", "kube-system"}


async def test_services_by_their_names_and_workloads_by_kind_but_nothing_of_ours(client):
    found = await choices.targets(client, "default", "")
    assert found == ["web", "deploy/web", "sts/db"]


@pytest.mark.parametrize(
    ("beginning", "found"),
    [
        ("pod/", ["pod/web-0"]),
        ("deployment/we", ["deployment/web"]),
        ("svc/", ["svc/web"]),
        ("ds/", []),
    ],
)
async def test_kind_as_it_was_written(client, beginning, found):
    assert await choices.targets(client, "default", beginning) == found


async def test_unknown_kind(client):
    with pytest.raises(UsageError):
        await choices.targets(client, "default", "node/")


async def test_what_may_not_be_listed_is_left_out(server, client):
    server.allows = lambda asked: asked["resource"] != "services"
    assert await choices.targets(client, "default", "") == ["deploy/web", "sts/db"]


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("web", ["80", "53/udp", "http"]),
        ("deploy/web", ["8080", "web"]),
        ("pod/web-0", ["8080", "web"]),
    ],
)
async def test_ports_by_number_and_by_name(client, target, found):
    assert await choices.port_names(client, "default", target) == found


async def test_ports_of_what_is_not_there(client):
    with pytest.raises(NotFound):
        await choices.port_names(client, "default", "absent")
