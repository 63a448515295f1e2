"""A patch of the agent's pod says all but what the agent needs as it is."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from towline.cluster import podpatch, podwishes
from towline.cluster.job import AgentSpec, manifest
from towline.cluster.podwishes import PodWishes
from towline.errors import UsageError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def patched(patch: dict[str, Any], **wishes: Any) -> dict[str, Any]:
    template: dict[str, Any] = manifest(AgentSpec(pod=PodWishes(patch=patch, **wishes)))["spec"][
        "template"
    ]
    return template


def load(folder: Path, text: str) -> Any:
    (folder / "patch.yaml").write_text(text)
    return podwishes.load_patch(str(folder / "patch.yaml"))


# The examples of RFC 7386, appendix A, that fit an object.
@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_patch_is_a_merge_patch(target: Any, patch: Any, expected: Any) -> None:
    assert podpatch.merge(target, patch) == expected


@given(JSON, JSON)
def test_patch_applied_twice_is_as_applied_once(target: Any, patch: Any) -> None:
    once = podpatch.merge(target, patch)
    assert podpatch.merge(once, patch) == once


def test_containers_are_merged_by_name_and_have_the_last_word() -> None:
    env = [{"name": "TZ", "value": "UTC"}]
    template = patched(
        {
            "metadata": {"labels": {"team": "b"}},
            "spec": {
                "containers": [{"name": "agent", "env": env}, {"name": "router", "env": env}],
                "initContainers": [{"name": "first", "image": "x", "workingDir": None}],
                "imagePullSecrets": [{"name": "b"}],
                "securityContext": {"runAsUser": None, "fsGroup": 5},
            },
        },
        labels={"team": "a"},
        pull_secrets=("a",),
    )
    (container,) = template["spec"]["containers"]
    assert container["env"] == env
    assert container["command"][0] == "python3"
    assert template["spec"]["initContainers"] == [{"name": "first", "image": "x"}]
    assert template["spec"]["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]
    assert template["spec"]["securityContext"]["fsGroup"] == 5
    assert "runAsUser" not in template["spec"]["securityContext"]
    assert template["metadata"]["labels"]["team"] == "b"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            "spec: {containers: [{name: agent, command: [sh]}]}",
            r"spec\.containers\[agent\]\.command",
        ),
        ("spec: {containers: [{name: agent, args: []}]}", r"\.args"),
        ("spec: {containers: [{name: router, ports: null}]}", r"\[router\]\.ports"),
        ("spec: {containers: [{name: proxy, image: x}]}", r"\[proxy\]"),
        ("spec: {containers: null}", r"spec\.containers"),
        ("spec: {containers: [agent]}", r"spec\.containers"),
        ("spec: {containers: [{image: x}]}", r"spec\.containers"),
        ("spec: {volumes: {a: b}}", r"spec\.volumes"),
        ("spec: {containers: [{name: agent, env: {A: b}}]}", r"\[agent\]\.env"),
        ("spec: {restartPolicy: Always}", r"spec\.restartPolicy"),
        ("spec: {hostNetwork: true}", r"spec\.hostNetwork"),
        ("spec: {serviceAccountName: x}", r"spec\.serviceAccountName"),
        ("spec: null", "spec"),
        ("metadata: {name: x}", r"metadata\.name"),
        ("metadata: {ownerReferences: []}", r"metadata\.ownerReferences"),
        ("metadata: {labels: {a: 1}}", r"metadata\.labels"),
        ("metadata: {labels: {towline/agent: x}}", "towline/agent"),
        ("metadata: {annotations: {linkerd.io/inject: enabled}}", "linkerd"),
        ("template: {}", "template"),
        ("[]", "top"),
        ("", "top"),
        ("spec: {a: 2024-01-01}", "date"),
        ("spec: [", "YAML"),
    ],
)
def test_patch_that_breaks_the_agent_is_refused_by_name(
    tmp_path: Path, text: str, named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        load(tmp_path, text)


def test_patch_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        podwishes.load_patch(str(tmp_path / "none"))


def test_patch_may_be_a_whole_pod_of_yaml_or_json(tmp_path: Path) -> None:
    spec = {"spec": {"runtimeClassName": "gvisor"}}
    assert load(tmp_path, yaml.dump({"apiVersion": "v1", "kind": "Pod", **spec})) == spec
    assert load(tmp_path, '{"spec": {"runtimeClassName": "gvisor"}}') == spec
