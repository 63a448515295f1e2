from __future__ import annotations

import copy

import pytest

from tests.e2e.trace import cluster
from tests.e2e.trace.cluster import Kind


def group(name, **versions):
    """An entry of the discovery: version → resources, each with its verbs."""
    return {
        "metadata": {"name": name} if name else {},
        "versions": [
            {
                "version": version,
                "resources": [{"resource": r, "verbs": v} for r, v in resources.items()],
            }
            for version, resources in versions.items()
        ],
    }


class Server:
    """An API server that is nothing but its answers."""

    def __init__(self):
        self.core = [group("", v1={"configmaps": ["list", "get"], "bindings": ["create"]})]
        self.named = [
            group("batch", v1={"jobs": ["list"]}, v1beta1={"jobs": ["list"], "oldies": ["list"]}),
            group("events.k8s.io", v1={"events": ["list"]}),
            group("coordination.k8s.io", v1={"leases": ["list"]}),
        ]
        self.lists = {
            "/api/v1/configmaps": [
                {
                    "metadata": {
                        "name": "a",
                        "namespace": "one",
                        "uid": "1",
                        "resourceVersion": "5",
                        "labels": {"x": "y"},
                        "managedFields": [{"manager": "m"}],
                    },
                    "data": {"k": "v"},
                    "status": {"seen": 1},
                }
            ],
            "/apis/batch/v1/jobs": [],
            "/apis/batch/v1beta1/oldies": None,
        }

    def get(self, path, _accept):
        if path == "/api":
            return {"items": self.core}
        if path == "/apis":
            return {"items": self.named}
        return {"items": self.lists[path]}


@pytest.fixture
def server():
    return Server()


def test_kinds_are_all_that_can_be_listed_each_once(server):
    assert cluster.kinds(server.get) == [
        Kind("", "v1", "configmaps"),
        Kind("batch", "v1", "jobs"),
        Kind("batch", "v1beta1", "oldies"),
    ]


def test_view_names_objects(server):
    assert list(cluster.view(server.get)) == ["configmaps one/a"]


def test_view_names_objects_without_a_namespace(server):
    server.lists["/apis/batch/v1/jobs"] = [{"metadata": {"name": "wide", "uid": "7"}}]
    assert "jobs.batch wide" in cluster.view(server.get)


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("metadata", "resourceVersion", "6"),
        ("metadata", "managedFields", []),
        ("", "status", {"seen": 2}),
    ],
)
def test_view_is_blind_to_what_changes_by_itself(server, place, key, value):
    before = cluster.view(server.get)
    (item,) = server.lists["/api/v1/configmaps"]
    (item[place] if place else item)[key] = value
    assert cluster.view(server.get) == before


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("metadata", "uid", "2"),
        ("metadata", "labels", {"x": "z"}),
        ("metadata", "annotations", {"x": "z"}),
        ("metadata", "finalizers", ["x"]),
        ("metadata", "deletionTimestamp", "now"),
        ("", "data", {"k": "w"}),
        ("", "spec", {"replicas": 1}),
        ("", "rules", []),
    ],
)
def test_view_shows_any_other_change(server, place, key, value):
    before = cluster.view(server.get)
    (item,) = server.lists["/api/v1/configmaps"]
    (item[place] if place else item)[key] = value
    assert cluster.view(server.get) != before


def test_view_shows_an_object_of_a_kind_that_is_new(server):
    before = cluster.view(server.get)
    server.named.append(group("new.example", v1={"things": ["list"]}))
    server.lists["/apis/new.example/v1/things"] = [{"metadata": {"name": "x", "uid": "9"}}]
    assert set(cluster.view(server.get)) - set(before) == {"things.new.example x"}


def test_view_lists_together_what_goes_by_the_same_name(server):
    owner = {"kind": "Set", "name": "a", "controller": True}
    server.core.append(group("", v1={"pods": ["list"]}))
    pods = [
        {"metadata": {"name": name, "uid": name, "ownerReferences": [owner]}}
        for name in ("a-1", "a-2")
    ]
    server.lists["/api/v1/pods"] = pods
    two = cluster.view(server.get, new_pods=True)
    assert "pods of Set a" in two
    pods.pop()
    assert cluster.view(server.get, new_pods=True) != two


def test_view_leaves_the_answers_alone(server):
    lists = copy.deepcopy(server.lists)
    cluster.view(server.get)
    assert server.lists == lists
