from typing import Any

import pytest

from towline.cluster.podstate import (
    OutOfMemoryError,
    Phase,
    is_cut_off,
    is_ready,
    latest,
    of_event,
    of_pod,
    restarts,
)
from towline.errors import AccessError, AgentError


def pod(phase: str = "Pending", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "status": {"phase": phase, **status}}


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"image": "python:3", "state": state}]}


def test_pod_without_status_waits_to_be_scheduled() -> None:
    assert of_pod({"metadata": {}}).phase is Phase.WAITING


def test_unschedulable_pod_says_the_schedulers_reason() -> None:
    state = of_pod(
        pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}])
    )
    assert state.error is None
    assert "0/1 nodes" in state.what


def test_running_container_is_running() -> None:
    assert of_pod(pod("Running", **container(running={}))).phase is Phase.RUNNING


def test_pod_that_is_being_deleted_has_ended() -> None:
    running = pod("Running", **container(running={}))
    running["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert of_pod(running).phase is Phase.ENDED


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"])
def test_image_that_cannot_be_had_is_an_error_with_a_hint(reason: str) -> None:
    state = of_pod(pod(**container(waiting={"reason": reason, "message": "not found"})))
    assert isinstance(state.error, AgentError)
    assert "python:3" in state.error.summary
    assert "--image" in state.error.hint


UNAUTHORIZED = (
    'Back-off pulling image "r/python:3": ErrImagePull: failed to pull and unpack image '
    '"r/python:3": failed to resolve reference "r/python:3": pulling from host r failed with '
    "status code [manifests 3]: 401 Unauthorized"
)


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
def test_registry_that_wants_a_password_is_told_at_once(reason: str) -> None:
    made = pod(**container(waiting={"reason": reason, "message": UNAUTHORIZED}))
    error = of_pod(made).error
    assert isinstance(error, AgentError)
    assert error.summary.count("python:3") == 1
    assert "--image-pull-secret" in error.hint
    named = of_pod({**made, "spec": {"imagePullSecrets": [{"name": "corp"}]}}).error
    assert isinstance(named, AgentError)
    assert "corp" in named.hint


def test_router_whose_registry_wants_a_password_is_told_so() -> None:
    waiting = {"reason": "ErrImagePull", "message": UNAUTHORIZED}
    statuses = [{"name": "router", "image": "r/envoy", "state": {"waiting": waiting}}]
    error = of_pod(pod(containerStatuses=statuses)).error
    assert error is not None
    assert "--image-pull-secret" in error.hint


def test_first_failed_pull_is_still_waited_for() -> None:
    state = of_pod(pod(**container(waiting={"reason": "ErrImagePull", "message": "timeout"})))
    assert state.error is None
    assert "ErrImagePull" in state.what


def test_agent_that_ran_out_of_memory_is_told_with_the_option_for_it() -> None:
    state = of_pod(pod("Failed", **container(terminated={"reason": "OOMKilled", "exitCode": 137})))
    assert isinstance(state.error, OutOfMemoryError)
    assert state.error is not None
    assert "--memory" in state.error.hint


def test_agent_that_was_started_again_says_how_often_and_why() -> None:
    status = {"state": {"running": {}}, "restartCount": 2}
    assert restarts(pod("Running", containerStatuses=[status])) == (2, None)
    status["lastState"] = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    count, why = restarts(pod("Running", containerStatuses=[status]))
    assert count == 2
    assert isinstance(why, OutOfMemoryError)
    assert restarts(pod()) == (0, None)


def test_ended_container_says_its_exit_code() -> None:
    state = of_pod(pod("Failed", **container(terminated={"reason": "Error", "exitCode": 127})))
    assert state.phase is Phase.ENDED
    assert state.error is not None
    assert "127" in state.error.summary
    assert "--image" in state.error.hint


def test_evicted_pod_says_why() -> None:
    state = of_pod(pod("Failed", reason="Evicted", message="low on memory"))
    assert state.error is not None
    assert "low on memory" in state.error.summary


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ('pods "x" is forbidden: exceeded quota: q', "quota"),
        ("failed quota: q: must specify limits.cpu for: agent", "--cpu"),
        ("minimum cpu usage per Container is 50m, but request is 10m", "--cpu"),
        (
            "memory max limit to request ratio per Container is 2, but provided ratio is 16",
            "limits",
        ),
        ("error looking up service account a/b: serviceaccount b not found", "--service-account"),
        ("no PriorityClass with name low was found", "--priority-class"),
        ("violates PodSecurity", "policy"),
        ('admission webhook "x" denied the request: no label team', "--label"),
    ],
)
def test_refused_pod_is_an_access_error(message: str, word: str) -> None:
    state = of_event({"reason": "FailedCreate", "message": message})
    assert isinstance(state.error, AccessError)
    assert word in state.error.summary + state.error.hint


def test_other_events_are_progress() -> None:
    state = of_event({"reason": "Pulling", "message": 'Pulling image "python:3"'})
    assert state.error is None
    assert "Pulling" in state.what


def test_latest_event_is_the_newest() -> None:
    events = [
        {"lastTimestamp": "2026-01-01T00:00:02Z", "message": "b"},
        {"eventTime": "2026-01-01T00:00:03.000Z", "message": "c"},
        {"message": "a"},
    ]
    newest = latest(events)
    assert newest is not None
    assert newest["message"] == "c"
    assert latest([]) is None


@pytest.mark.parametrize(
    "status",
    [
        {"conditions": [{"type": "Ready", "status": "False"}]},
        {"conditions": [{"type": "Ready", "status": "Unknown"}]},
        {"reason": "NodeLost"},
    ],
)
def test_pod_whose_node_is_not_heard_of_is_cut_off(status: dict[str, Any]) -> None:
    assert is_cut_off(pod("Running", **status))


def test_agent_that_cannot_start_is_told_from_its_sidecar() -> None:
    agent = {"name": "agent", "image": "python:3", "state": {"waiting": {"reason": "ErrImagePull"}}}
    proxy = {"name": "istio-proxy", "image": "proxy", "state": {"running": {}}, "ready": True}
    assert "python:3" in of_pod(pod("Running", containerStatuses=[proxy, agent])).what


def test_pod_whose_sidecar_is_not_ready_is_not_cut_off() -> None:
    ready = {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}
    assert not is_cut_off(pod("Running", conditions=[ready]))


def test_pod_that_is_ready_or_says_nothing_of_it_is_not_cut_off() -> None:
    assert not is_cut_off(pod("Running", conditions=[{"type": "Ready", "status": "True"}]))
    assert not is_cut_off(pod("Running"))


def two(agent: dict[str, Any], router: dict[str, Any]) -> dict[str, Any]:
    statuses = [
        {"name": "router", "image": "envoy:1", **router},
        {"name": "agent", "image": "python:3", "state": agent},
    ]
    return pod("Running", containerStatuses=statuses)


def test_of_two_containers_the_agents_counts() -> None:
    assert of_pod(two({"running": {}}, {"state": {"waiting": {}}})).phase is Phase.RUNNING


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "RunContainerError", "CrashLoopBackOff"])
def test_router_that_cannot_start_is_an_error_with_a_hint(reason: str) -> None:
    state = of_pod(two({"running": {}}, {"state": {"waiting": {"reason": reason}}}))
    assert isinstance(state.error, AgentError)
    assert "--router-image" in state.error.hint


def test_router_that_is_not_ready_is_not_taken_for_a_lost_node() -> None:
    found = two({"running": {}}, {"state": {"running": {}}})
    not_ready = {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}
    found["status"]["conditions"] = [not_ready]
    assert not is_cut_off(found)
    assert not is_ready(found)
