import json
import re

from towline.cluster.job import AgentSpec, manifest, new_name
from towline.cluster.podwishes import PodWishes
from towline.cluster.router import RouterSpec
from towline.cluster.sidecar import Sidecar
from towline.wire.target import Port


def test_names_are_valid_and_differ() -> None:
    names = {new_name("Ada.Lovelace_1@Analytical Engine") for _ in range(20)}
    assert len(names) == 20
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name) for name in names)
    assert max(map(len, names)) <= 63


def test_owner_without_letters_still_has_a_name() -> None:
    assert re.fullmatch(r"towline-user-[0-9a-f]{8}", new_name("***"))


def test_manifest_is_bounded_in_life_before_and_after() -> None:
    spec = manifest(AgentSpec(grace_seconds=30))["spec"]
    assert 30 < spec["activeDeadlineSeconds"] < 60
    assert spec["ttlSecondsAfterFinished"] == 0


def test_manifest_meets_the_restricted_standard() -> None:
    pod = manifest(AgentSpec())["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False


def test_manifest_is_json_and_carries_the_choices() -> None:
    body = json.loads(json.dumps(manifest(AgentSpec(image="r/python:3", grace_seconds=7))))
    container = body["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "r/python:3"
    assert "--grace-seconds=7" in container["args"]


def test_image_is_pulled_with_the_secrets() -> None:
    def secrets(spec: AgentSpec) -> object:
        return manifest(spec)["spec"]["template"]["spec"]["imagePullSecrets"]

    assert secrets(AgentSpec(pod=PodWishes(pull_secrets=("a", "b")))) == [
        {"name": "a"},
        {"name": "b"},
    ]
    assert secrets(AgentSpec()) == []


def test_meshes_are_asked_to_leave_the_pod_alone() -> None:
    metadata = manifest(AgentSpec())["spec"]["template"]["metadata"]
    for kind in ("labels", "annotations"):
        assert metadata[kind]["sidecar.istio.io/inject"] == "false"
        assert metadata[kind]["kuma.io/sidecar-injection"] == "disabled"
    assert metadata["annotations"]["linkerd.io/inject"] == "disabled"


ROUTER = RouterSpec("r/envoy:1", ("envoy", "--a=$b"), {"f": "1$"}, (Port(80),), ("certs",))


def test_router_waits_for_its_files_and_shares_their_folder() -> None:
    agent, router = manifest(AgentSpec(router=ROUTER))["spec"]["template"]["spec"]["containers"]
    assert agent["lifecycle"]["postStart"]["exec"]["command"][0] == "python3"
    assert agent["volumeMounts"][0] == router["volumeMounts"][0]
    assert router["securityContext"] == agent["securityContext"]
    assert router["readinessProbe"]["tcpSocket"] == {"port": 80}


def test_nothing_is_expanded_in_what_the_router_is_told() -> None:
    agent, router = manifest(AgentSpec(router=ROUTER))["spec"]["template"]["spec"]["containers"]
    assert router["command"] == ["envoy", "--a=$$b"]
    assert json.dumps({"f": "1$$"}) in agent["args"][-1]


def test_secrets_are_mounted_where_the_router_alone_sees_them() -> None:
    pod = manifest(AgentSpec(router=ROUTER))["spec"]["template"]["spec"]
    agent, router = pod["containers"]
    assert {"name": "secret-certs", "secret": {"secretName": "certs"}} in pod["volumes"]
    assert router["volumeMounts"][1]["mountPath"] == "/secrets/certs"
    assert len(agent["volumeMounts"]) == 1


def test_pod_that_is_to_have_a_sidecar_asks_for_one_and_ends_it() -> None:
    sidecar = Sidecar({"sidecar.istio.io/inject": "true"}, {"proxy.istio.io/config": "x: 1"})
    template = manifest(AgentSpec(sidecar=sidecar))["spec"]["template"]
    assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"
    assert template["metadata"]["annotations"]["proxy.istio.io/config"] == "x: 1"
    assert "linkerd.io/inject" not in template["metadata"]["annotations"]
    assert "--quit-sidecar" in template["spec"]["containers"][0]["args"]
    plain = manifest(AgentSpec())["spec"]["template"]["spec"]
    assert "--quit-sidecar" not in plain["containers"][0]["args"]
