"""The API server is not reached straight, or as oneself: the link goes the same way."""

from __future__ import annotations

import pytest

from lab.network import API_PORT, NODE_V4
from lab.users import ADMIN
from tests import documented
from tests.e2e import objects, ways
from tests.e2e.test_rights import who_answers
from tests.e2e.tow import connected

pytestmark = pytest.mark.usefixtures("no_trace")

GROUP = "e2e-developers"


@pytest.fixture
def proxy(laptop):
    with ways.connect_proxy(laptop) as made:
        yield made


def assert_all_by(proxy, laptop):
    """A session's requests, and its link, have gone by the proxy."""
    assert who_answers(laptop, "http://web") == "web"
    assert len(proxy.targets) >= 2
    assert set(proxy.targets) == {f"{NODE_V4}:{API_PORT}"}


def test_proxy_of_the_environment(laptop, proxy):
    with connected(laptop, HTTPS_PROXY=proxy.url):
        assert_all_by(proxy, laptop)


def test_proxy_of_the_kubeconfig(laptop, proxy):
    def change(config):
        config["clusters"][0]["cluster"]["proxy-url"] = proxy.url

    file = laptop.kubeconfig_with("proxy", change)
    with connected(laptop, "-c", file, HTTPS_PROXY="http://127.0.0.1:9"):
        assert_all_by(proxy, laptop)


@pytest.fixture
def group(lab):
    """Those who may do in a namespace what is documented."""
    head = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    metadata = {"name": GROUP, "namespace": "team-a"}
    subject = {"kind": "Group", "name": GROUP, "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "Role", "name": GROUP, "apiGroup": "rbac.authorization.k8s.io"}
    role = {**head, "kind": "Role", "metadata": metadata, "rules": documented.rules("connect")}
    binding = {"kind": "RoleBinding", "subjects": [subject], "roleRef": reference}
    with objects.applied(lab, role, {**head, "metadata": metadata, **binding}):
        yield


def test_path_below_another_server_and_somebody_elses_rights(lab, laptop, group):
    """As with Rancher: the server there is known to the cluster, and whoever asks it is not."""
    with ways.path_prefix(lab, laptop, ADMIN) as url:

        def change(config):
            config["clusters"][0]["cluster"] = {"server": url}
            config["users"][0]["user"] = {"as": "ada", "as-groups": [GROUP], "as-uid": "17"}

        file = laptop.kubeconfig_with("prefix", change)
        with connected(laptop, "-c", file, "-n", "team-a"):
            assert who_answers(laptop, "http://web") == "team-web"
            (job,) = objects.agents(lab)
            assert job["metadata"]["namespace"] == "team-a"
