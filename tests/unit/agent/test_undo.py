"""An interception's change and its undoing: nothing is lost, and no edit of others overwritten."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.fakes.patching import merge
from towline.agent.undo import AGENT_LABEL, ANNOTATION, Record, apply, disown, of, undo
from towline.agent.undo import LABELS as LABELS_OF_RECORD

JOB = "towline-jane-1"
KEYS = st.sampled_from(["app", "tier", "track", "app.kubernetes.io/name"])
VALUES = st.sampled_from(["", "web", "db", "blue"])
LABELS = st.dictionaries(KEYS, VALUES)
SELECTORS = st.dictionaries(KEYS, VALUES, min_size=1)


def service(selector: dict[str, str], annotations: dict[str, str] | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "web", "resourceVersion": "1"}
    if annotations:
        metadata["annotations"] = annotations
    spec = {"type": "ClusterIP", "ports": [{"port": 80}], "selector": selector}
    return {"kind": "Service", "metadata": metadata, "spec": spec}


def deployment(replicas: int) -> dict[str, Any]:
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}}
    return {"kind": "Deployment", "metadata": {"resourceVersion": "1"}, "spec": spec}


def selecting(value: dict[str, Any], job: str = JOB) -> Record:
    return Record(job, "jane@laptop", "2026-01-02T03:04:05+00:00", value["spec"]["selector"])


def scaling(value: dict[str, Any], job: str = JOB) -> Record:
    return Record(job, "jane@laptop", "2026-01-02T03:04:05+00:00", None, value["spec"]["replicas"])


SERVICES = st.builds(service, SELECTORS, LABELS)
DEPLOYMENTS = st.builds(deployment, st.integers(0, 1000))
SITUATIONS = st.one_of(
    st.builds(lambda it: (it, selecting(it)), SERVICES),
    st.builds(lambda it: (it, scaling(it)), DEPLOYMENTS),
)


def write(value: dict[str, Any], change: dict[str, Any] | None) -> dict[str, Any]:
    """What an API server makes of a patch: conditional, empty maps left out, a new version."""
    if change is None:
        return value
    version = value["metadata"]["resourceVersion"]
    assert change["metadata"].get("resourceVersion", version) == version
    result: dict[str, Any] = merge(value, change)
    for name in ("annotations", "labels"):
        if not result["metadata"].get(name, True):
            del result["metadata"][name]
    result["metadata"]["resourceVersion"] = str(int(version) + 1)
    return result


def said(value: dict[str, Any]) -> dict[str, Any]:
    """An object but for its version."""
    result = copy.deepcopy(value)
    del result["metadata"]["resourceVersion"]
    return result


@given(SITUATIONS)
def test_undoing_gives_the_original_back(situation: tuple[dict[str, Any], Record]) -> None:
    original, record = situation
    changed = write(original, apply(original, record))
    assert of(changed) == record
    back = write(changed, undo(changed, record))
    assert said(back) == said(original)
    assert undo(back, record) is None


@given(SERVICES)
def test_intercepted_service_leads_to_the_agent_alone(original: dict[str, Any]) -> None:
    changed = write(original, apply(original, selecting(original)))
    assert changed["spec"]["selector"] == {AGENT_LABEL: JOB}


@given(DEPLOYMENTS)
def test_intercepted_workload_has_no_replicas(original: dict[str, Any]) -> None:
    assert write(original, apply(original, scaling(original)))["spec"]["replicas"] == 0


@given(SERVICES)
def test_takeover_keeps_the_first_ones_original(original: dict[str, Any]) -> None:
    first = selecting(original)
    taken = write(original, apply(original, first))
    second = Record("towline-john-2", "john@desk", first.since, first.selector)
    taken = write(taken, apply(taken, second))
    assert taken["spec"]["selector"] == {AGENT_LABEL: second.job}
    assert undo(taken, first) is None
    assert said(write(taken, undo(taken, second))) == said(original)


@given(SITUATIONS, LABELS, LABELS)
def test_annotations_and_labels_of_others_stay(
    situation: tuple[dict[str, Any], Record], annotations: dict[str, str], labels: dict[str, str]
) -> None:
    original, record = situation
    edit = {"metadata": {"annotations": annotations, "labels": labels}}
    changed = write(write(original, apply(original, record)), edit)
    assert said(write(changed, undo(changed, record))) == said(write(original, edit))


@given(SERVICES, st.dictionaries(KEYS, VALUES, min_size=1))
def test_labels_that_somebody_adds_are_the_selector_then(
    original: dict[str, Any], added: dict[str, str]
) -> None:
    record = selecting(original)
    changed = write(original, apply(original, record))
    changed = write(changed, {"metadata": {}, "spec": {"selector": added}})
    back = write(changed, undo(changed, record))
    assert back["spec"]["selector"] == added
    assert of(back) is None


@given(SERVICES, st.one_of(st.just({}), SELECTORS, st.just({AGENT_LABEL: "towline-john-2"})))
def test_selector_that_somebody_replaces_stays(
    original: dict[str, Any], other: dict[str, str]
) -> None:
    record = selecting(original)
    changed = write(original, apply(original, record))
    changed["spec"]["selector"] = other
    back = write(changed, undo(changed, record))
    assert back["spec"]["selector"] == other
    assert of(back) is None


@given(DEPLOYMENTS, st.integers(1, 1000))
def test_replicas_that_somebody_sets_stay(original: dict[str, Any], other: int) -> None:
    record = scaling(original)
    changed = write(original, apply(original, record))
    changed = write(changed, {"metadata": {}, "spec": {"replicas": other}})
    back = write(changed, undo(changed, record))
    assert back["spec"]["replicas"] == other
    assert of(back) is None


@given(SITUATIONS)
def test_object_that_was_never_changed_is_left_alone(
    situation: tuple[dict[str, Any], Record],
) -> None:
    original, record = situation
    assert undo(original, record) is None


@pytest.mark.parametrize("annotation", [None, "no record"])
def test_service_that_leads_to_us_is_put_right_although_its_record_is_lost(
    annotation: str | None,
) -> None:
    original = service({"app": "web"})
    record = selecting(original)
    changed = write(original, apply(original, record))
    changed = write(changed, {"metadata": {"annotations": {ANNOTATION: annotation}}})
    assert said(write(changed, undo(changed, record))) == said(original)


def test_workload_has_no_annotation_that_its_replica_sets_would_get() -> None:
    original = deployment(3)
    changed = write(original, apply(original, scaling(original)))
    assert "annotations" not in changed["metadata"]


@given(st.text(), st.text())
def test_record_of_a_workload_is_in_labels_that_the_api_takes(owner: str, since: str) -> None:
    """https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apimachinery/pkg/util/validation/validation.go"""
    original = deployment(3)
    changed = write(original, apply(original, Record(JOB, owner, since, None, 3)))
    for label in changed["metadata"]["labels"].values():
        assert re.fullmatch(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", label)
        assert len(label) <= 63
    found = of(changed)
    assert found
    assert (found.job, found.replicas) == (JOB, 3)


@pytest.mark.parametrize("label", LABELS_OF_RECORD.values())
def test_workload_of_which_a_label_is_lost_has_no_record(label: str) -> None:
    original = deployment(3)
    changed = write(original, apply(original, scaling(original)))
    del changed["metadata"]["labels"][label]
    assert (of(changed) is None) == (label in ("towline/interception", "towline/replicas"))


def test_workload_without_our_record_was_scaled_down_by_somebody_else() -> None:
    assert undo(deployment(0), scaling(deployment(3))) is None


# -- records


TEXTS = st.text()
NAMES = st.from_regex(r"[a-z0-9]([-.a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
RECORDS = st.one_of(
    st.builds(Record, NAMES, TEXTS, TEXTS, st.dictionaries(TEXTS, TEXTS)),
    st.builds(Record, NAMES, TEXTS, TEXTS, st.none(), st.integers(min_value=0)),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@given(RECORDS)
def test_record_is_read_as_it_is_written(record: Record) -> None:
    assert Record.from_json(record.to_json()) == record


@given(RECORDS, st.sampled_from(["job", "owner", "since", "selector", "replicas"]), JSON)
def test_record_is_read_or_refused_whatever_is_in_it(record: Record, key: str, part: Any) -> None:
    text = json.dumps({**json.loads(record.to_json()), key: part})
    try:
        read = Record.from_json(text)
    except ValueError:
        return
    assert json.loads(read.to_json()).get(key) == part


@given(st.one_of(TEXTS, JSON.map(json.dumps)))
def test_text_that_is_no_record_is_refused(text: str) -> None:
    assume("job" not in text)
    with pytest.raises(ValueError, match=r"."):
        Record.from_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        '{"job": "j", "owner": "o", "since": "s"}',
        '{"job": "j", "owner": "o", "since": "s", "selector": {}, "replicas": 1}',
        '{"job": "j", "owner": "o", "since": "s", "replicas": -1}',
        '{"job": "j", "owner": "o", "since": "s", "replicas": true}',
        '{"job": "j", "owner": "o", "since": "s", "selector": {"a": 1}}',
        '{"job": "", "owner": "o", "since": "s", "replicas": 1}',
    ],
)
def test_malformed_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Record.from_json(text)
    assert of({"metadata": {"annotations": {ANNOTATION: text}}}) is None


def test_only_our_entries_of_managed_fields_are_taken_away() -> None:
    value = service({"app": "web"})
    assert disown(value) is None
    kubectl = {"manager": "kubectl-client-side-apply", "fieldsV1": {}}
    value["metadata"]["managedFields"] = [kubectl]
    assert disown(value) is None
    ours = [{"manager": "towline"}, {"manager": "towline-agent"}]
    value["metadata"]["managedFields"] = [ours[0], kubectl, ours[1]]
    assert write(value, disown(value))["metadata"]["managedFields"] == [kubectl]


@given(SITUATIONS)
def test_fields_of_an_object_that_a_session_has_stay_its_own(
    situation: tuple[dict[str, Any], Record],
) -> None:
    value, record = situation
    managed = [{"manager": "towline", "operation": "Update"}]
    value = {**value, "metadata": {**value["metadata"], "managedFields": managed}}
    taken = write(value, apply(value, record))
    assert disown(taken) is None
    assert disown(write(taken, undo(taken, record))) is not None


@pytest.mark.parametrize("job", ["", ".", "..", "a/b", "-", "A", "a\n"])
def test_record_of_what_no_job_can_be_called_is_malformed(job: str) -> None:
    with pytest.raises(ValueError, match="job"):
        Record.from_values({"job": job, "owner": "o", "since": "s", "replicas": 1})
