import json
from typing import Any

import pytest

from towline.cluster.podprobes import probed_ports

HTTP_GET = {"httpGet": {"port": 8080, "path": "/"}}


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": list(containers), **spec}}


def test_pod_without_probes_has_none() -> None:
    assert probed_ports(pod({"name": "a", "ports": [{"containerPort": 80}]})) == {}


@pytest.mark.parametrize("probe", ["livenessProbe", "readinessProbe", "startupProbe"])
@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (HTTP_GET, "http"),
        ({"httpGet": {"port": 8080, "scheme": "HTTP"}}, "http"),
        ({"httpGet": {"port": "8080", "scheme": "HTTPS"}}, "other"),
        ({"httpGet": {"port": 8080, "httpHeaders": [{"name": "X", "value": "y"}]}}, "http"),
        (
            {"httpGet": {"port": 8080, "httpHeaders": [{"name": "user-agent", "value": "me"}]}},
            "other",
        ),
        ({"tcpSocket": {"port": 8080}}, "other"),
        ({"grpc": {"port": 8080, "service": ""}}, "other"),
    ],
)
def test_probe_is_known_by_what_it_does(probe: str, action: dict[str, Any], kind: str) -> None:
    assert probed_ports(pod({"name": "a", probe: action})) == {8080: kind}


def test_command_is_no_matter_of_ports() -> None:
    assert probed_ports(pod({"name": "a", "livenessProbe": {"exec": {"command": ["x"]}}})) == {}


def test_port_with_two_sorts_of_probe_is_the_one_that_cannot_be_told() -> None:
    one = {"name": "a", "livenessProbe": {"tcpSocket": {"port": 8080}}, "readinessProbe": HTTP_GET}
    two = {"name": "a", "livenessProbe": HTTP_GET, "readinessProbe": {"tcpSocket": {"port": 8080}}}
    assert probed_ports(pod(one)) == probed_ports(pod(two)) == {8080: "other"}


def test_name_of_a_port_is_one_of_its_own_containers() -> None:
    ports = [{"name": "web", "containerPort": 8080}]
    probe = {"httpGet": {"port": "web"}}
    one = {"name": "a", "ports": ports, "readinessProbe": probe}
    other = {"name": "b", "ports": [{"name": "web", "containerPort": 9090}]}
    assert probed_ports(pod(other, one)) == {8080: "http"}
    assert probed_ports(pod({"name": "b", "readinessProbe": probe}, other)) == {}


def test_all_containers_count_and_hooks_as_well() -> None:
    sidecar = {"name": "s", "restartPolicy": "Always", "startupProbe": {"grpc": {"port": 1}}}
    one = {"name": "a", "lifecycle": {"preStop": {"httpGet": {"port": 2}}, "postStart": {}}}
    two = {"name": "b", "readinessProbe": {"tcpSocket": {"port": 3}}}
    found = probed_ports(pod(one, two, initContainers=[sidecar]))
    assert found == {1: "other", 2: "http", 3: "other"}


def test_probes_that_a_sidecar_has_taken_over_are_known_if_they_can_be_told() -> None:
    taken = {
        "/app-health/a/readyz": HTTP_GET,
        "/app-health/a/livez": {"tcpSocket": {"port": 9090}},
    }
    variable = {"name": "ISTIO_KUBE_APP_PROBERS", "value": json.dumps(taken)}
    rewritten = {"httpGet": {"port": 15020, "path": "/app-health/a/readyz"}}
    found = probed_ports(
        pod(
            {"name": "a", "readinessProbe": rewritten},
            initContainers=[{"name": "istio-proxy", "env": [variable]}],
        )
    )
    assert found == {8080: "http", 15020: "http"}


@pytest.mark.parametrize("value", ["", "{", "[]", "7"])
def test_what_no_sidecar_of_istio_has_written_is_no_matter(value: str) -> None:
    variable = {"name": "ISTIO_KUBE_APP_PROBERS", "value": value}
    assert probed_ports(pod({"name": "a", "env": [variable]})) == {}
