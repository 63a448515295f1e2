"""What users want of the agent's pod is in its Job, but for what the agent itself needs."""

import json
from dataclasses import replace
from typing import Any

import pytest

from towline.cluster import podwishes, restorer, service
from towline.cluster.job import AgentSpec, manifest
from towline.cluster.podwishes import PodWishes
from towline.cluster.quantity import Amount
from towline.cluster.router import RouterSpec
from towline.errors import UsageError
from towline.kube.resources import ROLE_BINDINGS, SERVICE_ACCOUNTS, SERVICES
from towline.wire.target import Port


def job(**wishes: Any) -> dict[str, Any]:
    return manifest(AgentSpec(pod=PodWishes(**wishes)))


def pod(**wishes: Any) -> dict[str, Any]:
    spec: dict[str, Any] = job(**wishes)["spec"]["template"]["spec"]
    return spec


def test_labels_are_on_the_job_and_the_pod_and_annotations_too() -> None:
    made = job(labels={"team": "shop"}, annotations={"note": "any text"})
    for metadata in (made["metadata"], made["spec"]["template"]["metadata"]):
        assert metadata["labels"]["team"] == "shop"
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "towline"
        assert metadata["annotations"]["note"] == "any text"


def test_services_have_the_labels_too() -> None:
    spec = AgentSpec(pod=PodWishes(labels={"team": "shop"}))
    assert service.manifest("web", spec, [], external=False)["metadata"]["labels"]["team"] == "shop"


def test_choices_of_node_are_the_pods() -> None:
    tolerations = podwishes.parse_tolerations(["a=b:NoSchedule"])
    made = pod(node_selector={"disk": "ssd"}, tolerations=tolerations, priority_class="low")
    assert made["nodeSelector"] == {"disk": "ssd"}
    assert made["tolerations"] == [
        {"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}
    ]
    assert made["priorityClassName"] == "low"
    assert not {"nodeSelector", "tolerations", "priorityClassName", "dnsPolicy"} & pod().keys()


def test_amounts_are_requests_and_limits() -> None:
    container = pod(cpu=Amount("100m", "2"), memory=Amount("64Mi", "64Mi"))["containers"][0]
    assert container["resources"] == {
        "requests": {"cpu": "100m", "memory": "64Mi"},
        "limits": {"cpu": "2", "memory": "64Mi"},
    }
    assert "cpu" not in pod()["containers"][0]["resources"]["limits"]


def with_router(**wishes: Any) -> list[dict[str, Any]]:
    """The containers of an agent and of a router."""
    router = RouterSpec("r/envoy:1", ("envoy",), {}, (Port(80),))
    spec = AgentSpec(router=router, pod=PodWishes(**wishes))
    containers: list[dict[str, Any]] = manifest(spec)["spec"]["template"]["spec"]["containers"]
    return containers


def test_pull_policy_is_for_the_router_as_well() -> None:
    containers = with_router(pull_policy="Always")
    assert [each["imagePullPolicy"] for each in containers] == ["Always", "Always"]


def test_processors_are_for_the_router_as_well_but_its_memory_is_its_own() -> None:
    _, router = with_router(cpu=Amount("50m", "500m"), memory=Amount("64Mi", "64Mi"))
    assert router["resources"] == {
        "requests": {"cpu": "50m", "memory": "64Mi"},
        "limits": {"cpu": "500m", "memory": "1Gi"},
    }
    assert with_router()[1]["resources"]["requests"]["cpu"] == "100m"


def test_account_of_the_user_takes_the_place_of_the_agents_own() -> None:
    spec = AgentSpec(may_undo=True)
    theirs = replace(spec, pod=PodWishes(service_account="runner"))
    accounts = [
        manifest(each)["spec"]["template"]["spec"]["serviceAccountName"] for each in (spec, theirs)
    ]
    assert accounts == [spec.name, "runner"]
    assert "serviceAccountName" not in pod()


def test_role_is_given_to_the_account_of_the_user() -> None:
    made = dict(restorer.companions("agent", "shop", SERVICES, "web", account="runner"))
    assert SERVICE_ACCOUNTS not in made
    assert made[ROLE_BINDINGS]["subjects"][0]["name"] == "runner"
    assert len(restorer.rights("shop", account="runner")) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", {"operator": "Exists", "key": "a"}),
        ("a.b/c:NoExecute", {"operator": "Exists", "key": "a.b/c", "effect": "NoExecute"}),
        ("a=", {"operator": "Equal", "key": "a", "value": ""}),
        ("*", {"operator": "Exists"}),
        ("*:NoSchedule", {"operator": "Exists", "effect": "NoSchedule"}),
    ],
)
def test_tolerations_are_read(text: str, expected: dict[str, str]) -> None:
    assert podwishes.parse_tolerations([text]) == (expected,)


@pytest.mark.parametrize("text", ["", "a:", "a:Nope", "*=b", "=b", "a=b c", "-a", "a:b:NoExecute"])
def test_tolerations_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--toleration"):
        podwishes.parse_tolerations([text])


@pytest.mark.parametrize(
    "text", ["a", "=b", "a=b c", "/a=b", "A/b=c", f"a={'x' * 64}", f"{'x' * 64}=a", "a b=c"]
)
def test_labels_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--label"):
        podwishes.parse_labels([text])


def test_label_with_two_values_is_refused() -> None:
    assert podwishes.parse_labels(["a=b", "a=b", "x.y/c="]) == {"a": "b", "x.y/c": ""}
    with pytest.raises(UsageError, match="a is b already"):
        podwishes.parse_labels(["a=b", "a=c"])


def test_annotation_has_any_value() -> None:
    assert podwishes.parse_annotations(["a=b c = {}"]) == {"a": "b c = {}"}


def test_no_label_or_annotation_of_ours_is_the_users() -> None:
    metadata = manifest(AgentSpec())["spec"]["template"]["metadata"]
    for key in (*metadata["labels"], "job-name", "batch.kubernetes.io/job-name"):
        with pytest.raises(UsageError, match="towline's own"):
            podwishes.parse_labels([f"{key}=x"])
    for key in metadata["annotations"]:
        with pytest.raises(UsageError, match="towline's own"):
            podwishes.parse_annotations([f"{key}=x"])


def test_manifest_with_all_wishes_is_json() -> None:
    assert json.loads(json.dumps(job(patch={"spec": {"runtimeClassName": "gvisor"}})))
