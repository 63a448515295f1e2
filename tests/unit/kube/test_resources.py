from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from towline.kube.resources import JOBS, NAMESPACES, NODES, PODS, Action, Resource, action

NAMES = st.text(min_size=1).filter(lambda name: name not in (".", ".."))


def test_paths_are_those_of_the_api() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("dev") == "/api/v1/namespaces/dev/pods"
    assert PODS.path("dev", "a", "log") == "/api/v1/namespaces/dev/pods/a/log"
    assert JOBS.path("dev", "j") == "/apis/batch/v1/namespaces/dev/jobs/j"
    assert NODES.path(name="n") == "/api/v1/nodes/n"
    assert NAMESPACES.path(name="dev") == "/api/v1/namespaces/dev"
    assert (PODS.api_version, JOBS.api_version) == ("v1", "batch/v1")


@given(namespace=NAMES, name=NAMES)
def test_no_name_can_change_the_shape_of_a_path(namespace: str, name: str) -> None:
    path = PODS.path(namespace, name)

    assert path.count("/") == 6
    assert not set(path) & set("?#% \\") - {"%"}
    told = action("GET", path)
    assert (told.namespace, told.name) == (namespace, name)


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_climbs_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name"):
        PODS.path("dev", name)
    with pytest.raises(ValueError, match="cannot name"):
        PODS.path(name, "a")


def test_combinations_without_a_path_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a namespace"):
        PODS.path(name="a")
    with pytest.raises(ValueError, match="live in no namespace"):
        NODES.path("dev", "n")
    with pytest.raises(ValueError, match="needs a name"):
        PODS.path("dev", subresource="log")
    with pytest.raises(ValueError, match="cannot name"):
        PODS.path("")


@pytest.mark.parametrize(
    ("method", "path", "watch", "expected"),
    [
        ("GET", "/api/v1/namespaces", False, Action("list", "", "namespaces")),
        ("GET", "/api/v1/namespaces/dev", False, Action("get", "", "namespaces", name="dev")),
        (
            "PUT",
            "/api/v1/namespaces/dev/finalize",
            False,
            Action("update", "", "namespaces", subresource="finalize", name="dev"),
        ),
        ("GET", "/api/v1/pods", True, Action("watch", "", "pods")),
        (
            "POST",
            "/apis/batch/v1/namespaces/dev/jobs",
            False,
            Action("create", "", "jobs", "batch", namespace="dev"),
        ),
        (
            "GET",
            "/api/v1/namespaces/dev/pods/a/portforward",
            False,
            Action("get", "", "pods", "", "portforward", "dev", "a"),
        ),
        ("DELETE", "/api/v1/nodes", False, Action("deletecollection", "", "nodes")),
        ("GET", "/version", False, Action("get", "")),
        ("GET", "/", False, Action("get", "")),
    ],
)
def test_action_reads_a_request_as_rbac_does(
    method: str, path: str, watch: bool, expected: Action
) -> None:
    told = action(method, path, watch=watch)

    assert told.path == path
    assert str(told).replace(path, "") == str(expected)
    assert (told.resource, told.group, told.subresource, told.namespace, told.name) == (
        expected.resource,
        expected.group,
        expected.subresource,
        expected.namespace,
        expected.name,
    )


@given(method=st.sampled_from(["GET", "POST", "PUT"]), path=st.text())
def test_action_takes_any_path(method: str, path: str) -> None:
    assert action(method, path).path == path


LABELS = st.from_regex(r"[a-z]{1,8}", fullmatch=True)


@given(
    group=LABELS | st.just(""),
    plural=LABELS,
    namespace=LABELS,
    name=LABELS,
    sub=LABELS | st.just(""),
)
def test_action_reads_back_what_path_wrote(
    group: str, plural: str, namespace: str, name: str, sub: str
) -> None:
    assume(plural not in ("status", "finalize"))
    told = action("GET", Resource(group, "v1", plural).path(namespace, name, sub))

    assert (told.group, told.resource, told.namespace, told.name, told.subresource) == (
        group,
        plural,
        namespace,
        name,
        sub,
    )
