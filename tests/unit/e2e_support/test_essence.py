from __future__ import annotations

import copy

import pytest

from tests.e2e.trace.essence import ENDPOINTS, PODS, SLICES, essence, title

SERVICE = {
    "metadata": {"name": "web", "namespace": "default", "uid": "1", "annotations": {"a": "1"}},
    "spec": {"selector": {"app": "web"}},
}
DEPLOYMENT = {"metadata": {"name": "web", "namespace": "default", "uid": "1"}, "spec": {}}


def pod(number=1, **spec):
    token = f"kube-api-access-{number}"
    return {
        "metadata": {
            "name": f"web-{number}",
            "generateName": "web-",
            "namespace": "default",
            "uid": f"uid-{number}",
            "creationTimestamp": f"t{number}",
            "labels": {"app": "web"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-abc", "controller": True}],
        },
        "spec": {
            "volumes": [{"name": token}],
            "containers": [{"name": "web", "volumeMounts": [{"name": token}]}],
            **spec,
        },
        "status": {"containerStatuses": [{"name": "web", "restartCount": 0}]},
    }


def with_ephemeral(name, state):
    made = pod(ephemeralContainers=[{"name": name}])
    made["status"]["ephemeralContainerStatuses"] = [{"name": name, "state": state}]
    return made


def endpoint(number):
    return {
        "addresses": [f"10.0.0.{number}"],
        "conditions": {"ready": True},
        "targetRef": {"name": f"web-{number}", "uid": f"uid-{number}"},
    }


def slice_of_web(name, *numbers, maker="endpointslice-controller.k8s.io"):
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid of {name}",
            "labels": {
                "kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": maker,
            },
        },
        "addressType": "IPv4",
        "endpoints": [endpoint(number) for number in numbers],
        "ports": [{"port": 8080}],
    }


def changed(item, place, key, value):
    made = copy.deepcopy(item)
    made[place][key] = value
    return made


@pytest.mark.parametrize(
    ("kind", "item", "place", "key", "value"),
    [
        ("services", SERVICE, "spec", "selector", {"towline/agent": "x"}),
        ("services", SERVICE, "spec", "selector", {"app": "web", "towline/agent": "x"}),
        ("services", SERVICE, "metadata", "annotations", {"a": "1", "towline/interception": "{}"}),
        ("deployments.apps", DEPLOYMENT, "spec", "replicas", 0),
        (PODS, pod(), "metadata", "labels", {"app": "web", "towline/agent": "x"}),
        (PODS, pod(), "metadata", "uid", "another"),
        (PODS, pod(), "spec", "ephemeralContainers", [{"name": "towline-1"}]),
        ("roles", {"metadata": {"uid": "1"}, "rules": []}, "metadata", "ownerReferences", [{}]),
    ],
)
def test_what_an_exchange_may_leave_is_seen(kind, item, place, key, value):
    assert essence(kind, item) != essence(kind, changed(item, place, key, value))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("generation", 2),
        ("resourceVersion", "2"),
        ("annotations", {"a": "1", "endpoints.kubernetes.io/last-change-trigger-time": "now"}),
    ],
)
def test_what_counts_changes_is_not(key, value):
    assert essence("services", SERVICE) == essence(
        "services", changed(SERVICE, "metadata", key, value)
    )


def test_no_annotations_are_as_good_as_none():
    times = {"endpoints.kubernetes.io/last-change-trigger-time": "now"}
    assert essence("services", DEPLOYMENT) == essence(
        "services", changed(DEPLOYMENT, "metadata", "annotations", times)
    )


@pytest.mark.parametrize(
    ("name", "state", "is_left_out"),
    [
        ("towline-1", {"terminated": {"exitCode": 0}}, True),
        ("towline-1", {"running": {}}, False),
        ("towline-1", {"waiting": {}}, False),
        ("debugger", {"terminated": {"exitCode": 0}}, False),
    ],
)
def test_just_a_finished_ephemeral_container_of_ours_is_left_out(name, state, is_left_out):
    left_out = essence(PODS, with_ephemeral(name, state)) == essence(PODS, pod())
    assert left_out is is_left_out


def test_restart_of_a_container_is_seen():
    restarted = pod()
    restarted["status"]["containerStatuses"][0]["restartCount"] = 1
    assert essence(PODS, restarted) != essence(PODS, pod())


def test_order_and_name_of_a_controllers_slice_do_not_matter():
    one, other = slice_of_web("web-a", 1, 2), slice_of_web("web-b", 2, 1)
    assert title(SLICES, one) == title(SLICES, other)
    assert essence(SLICES, one) == essence(SLICES, other)
    assert essence(SLICES, one) != essence(SLICES, slice_of_web("web-a", 1))


def test_slice_that_somebody_else_has_made_is_that_very_one():
    one, other = slice_of_web("web-a", maker="me"), slice_of_web("web-b", maker="me")
    assert title(SLICES, one) != title(SLICES, other)
    assert essence(SLICES, one) != essence(SLICES, other)


def test_pods_that_may_be_new_are_alike():
    assert title(PODS, pod(1)) != title(PODS, pod(2))
    assert title(PODS, pod(1), new_pods=True) == title(PODS, pod(2), new_pods=True)
    assert essence(PODS, pod(1)) != essence(PODS, pod(2))
    assert essence(PODS, pod(1), new_pods=True) == essence(PODS, pod(2), new_pods=True)
    marked = changed(pod(2), "metadata", "labels", {"towline/agent": "x"})
    assert essence(PODS, pod(1), new_pods=True) != essence(PODS, marked, new_pods=True)


def test_addresses_of_pods_that_may_be_new_do_not_matter():
    one, other = slice_of_web("web-a", 1), slice_of_web("web-a", 2)
    assert essence(SLICES, one) != essence(SLICES, other)
    assert essence(SLICES, one, new_pods=True) == essence(SLICES, other, new_pods=True)
    none = slice_of_web("web-a")
    assert essence(SLICES, one, new_pods=True) != essence(SLICES, none, new_pods=True)

    def of(ip):
        return {"metadata": {"name": "web"}, "subsets": [{"addresses": [{"ip": ip}]}]}

    assert essence(ENDPOINTS, of("a")) != essence(ENDPOINTS, of("b"))
    assert essence(ENDPOINTS, of("a"), new_pods=True) == essence(ENDPOINTS, of("b"), new_pods=True)


def test_order_of_addresses_of_pods_that_may_be_new_does_not_matter():
    def of(*hosts):
        addresses = [{"ip": str(ip), "hostname": host} for ip, host in enumerate(hosts)]
        return {"metadata": {"name": "db"}, "subsets": [{"addresses": addresses}]}

    one, other = of("db-0", "db-1"), of("db-1", "db-0")
    assert essence(ENDPOINTS, one, new_pods=True) == essence(ENDPOINTS, other, new_pods=True)


def test_items_are_left_alone():
    for kind, item in ((PODS, pod()), (SLICES, slice_of_web("web-a", 2, 1))):
        before = copy.deepcopy(item)
        essence(kind, item, new_pods=True)
        assert item == before
