"""Reads from a pod's status and from events how far its start has come, and what holds it up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from towline.errors import AccessError, AgentError, TowlineError

# The kubelet goes on trying after these, but no further try has reason to end better.
_HOPELESS = {
    "ImagePullBackOff": "The image {image} cannot be pulled: {message}",
    "ErrImageNeverPull": "The image {image} is not on the node: {message}",
    "InvalidImageName": "{image} is not the name of an image: {message}",
    "CreateContainerConfigError": "The agent's container cannot be set up: {message}",
    "CreateContainerError": "The agent's container cannot be created: {message}",
    "RunContainerError": "The agent's container cannot be started: {message}",
}
# What comes before ImagePullBackOff, and again at each further try.
_BEFORE_HOPELESS = "ErrImagePull"
# What containerd and CRI-O say of a registry that wants another password, or any: no further try
# has reason to end better.
_UNAUTHORIZED = ("401 Unauthorized", "403 Forbidden", "authorization failed", "access denied")
# By what they begin, each of their layers anew.
_PREAMBLE = re.compile(
    r'.*failed to (resolve reference|pull and unpack image) "[^"]*": ', re.DOTALL
)
_CRASHING = "CrashLoopBackOff"
# How refusals begin that are for want of a limit, and those by a LimitRange:
# https://kubernetes.io/docs/concepts/policy/limit-range/.
_OF_LIMITS = ("failed quota", " usage per ", "limit to request ratio per ")
# Those of names that there are not.
_OF_NAMES = ("looking up service account", "no PriorityClass with name")
# What the containers of our pods are called.
_AGENT, _ROUTER = "agent", "router"
_ROUTER_HINT = (
    "Name an image with Envoy, as 'envoy' in its PATH, that the cluster's nodes can pull: "
    "--router-image REGISTRY/envoy:TAG, or TOW_ROUTER_IMAGE in the environment."
)
_IMAGE_HINT = (
    "Name an image with Python 3.9 or newer that the cluster's nodes can pull: "
    "--image REGISTRY/python:3, with --image-pull-secret if they have to sign in there."
)


class OutOfMemoryError(AgentError):
    """The agent was killed because it needed more memory than it may have."""


class Phase(Enum):
    """How far a pod is."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class PodState:
    """`what` says what is waited for; `error` is set when waiting on makes no sense."""

    phase: Phase
    what: str = ""
    error: TowlineError | None = None


def of_pod(pod: Mapping[str, Any]) -> PodState:
    """The state of the agent's pod: the agent's, unless its router cannot start.

    Fields as in https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/.
    """
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp") or status.get("phase") in ("Failed", "Succeeded"):
        return PodState(Phase.ENDED, error=_ended(status))
    secrets = _pull_secrets(pod)
    if (hindered := _of_router(status, secrets)) is not None:
        return hindered
    started = _of_container(_container(status), secrets)
    if started is not None:
        return started
    unscheduled = _condition(status, "PodScheduled")
    if unscheduled.get("status") == "False":
        return PodState(Phase.WAITING, f"a node for the agent: {unscheduled.get('message', '')}")
    return PodState(Phase.WAITING, "the agent's pod to be scheduled")


def of_ephemeral(pod: Mapping[str, Any], name: str) -> PodState:
    """The state of the agent in an ephemeral container of somebody else's pod."""
    status, pod_name = pod.get("status", {}), pod["metadata"]["name"]
    if pod["metadata"].get("deletionTimestamp") or status.get("phase") in ("Failed", "Succeeded"):
        return PodState(Phase.ENDED, error=AgentError(f"The pod {pod_name} is ending."))
    for container in status.get("ephemeralContainerStatuses", ()):
        if container["name"] == name and (started := _of_container(container, _pull_secrets(pod))):
            if started.phase is Phase.ENDED:
                return PodState(Phase.ENDED, error=_container_ended(container, pod_name))
            return started
    return PodState(Phase.WAITING, f"the node to add a container to the pod {pod_name}")


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether services lead there: all of its containers are ready."""
    return _condition(pod.get("status", {}), "Ready").get("status") == "True"


def is_over(container: Mapping[str, Any]) -> bool:
    """Whether a container, by its status, has ended, or cannot start: its session has given up."""
    state = container.get("state", {})
    reason = state.get("waiting", {}).get("reason")
    return "terminated" in state or reason in _HOPELESS or reason == _BEFORE_HOPELESS


def addresses(pod: Mapping[str, Any]) -> list[str]:
    """The addresses that a pod has by now, at most one of a family."""
    return [each["ip"] for each in pod.get("status", {}).get("podIPs", ())]


def is_cut_off(pod: Mapping[str, Any]) -> bool:
    """Whether the cluster has lost touch with the node of a pod whose container runs.

    It then says so by the condition Ready; the agent's container itself, which has no probe, is
    ready whenever it runs. Of a router or a sidecar, which have one, the kubelet tells with a
    reason. The pod is deleted only some minutes later.
    """
    status = pod.get("status", {})
    if status.get("phase") == "Unknown" or status.get("reason") == "NodeLost":
        return True
    ready = _condition(status, "Ready")
    not_ready = ready.get("status") == "False" and ready.get("reason") != "ContainersNotReady"
    return not_ready or ready.get("status") == "Unknown"


def why_lost(pod: Mapping[str, Any]) -> TowlineError | None:
    """Why a pod whose agent ran is of no use any more; None while it is."""
    state = of_pod(pod)
    if state.phase is Phase.RUNNING:
        return AgentError("The agent's node is lost") if is_cut_off(pod) else None
    return state.error or AgentError("The agent does not run any more")


def restarts(pod: Mapping[str, Any]) -> tuple[int, TowlineError | None]:
    """How often the agent was started again in its pod, and why last, if that is known."""
    container = _container(pod.get("status", {}))
    last = container.get("lastState", {})
    why = _ended({"containerStatuses": [{"state": last}]}) if "terminated" in last else None
    return container.get("restartCount", 0), why


def of_event(event: Mapping[str, Any]) -> PodState:
    """What an event of the agent's Job or pod says; an error when nothing can come of it."""
    message = str(event.get("message", ""))
    if event.get("reason") != "FailedCreate":
        return PodState(Phase.WAITING, message)
    return PodState(Phase.WAITING, message, _refused(message))


def latest(events: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The newest of some events."""
    return max(
        events,
        key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""),
        default=None,
    )


def _refused(message: str) -> AccessError:
    """What a refusal to make the agent's pod means, and what to do."""
    if "exceeded quota" in message:
        return AccessError(
            f"The namespace's quota leaves no room for the agent: {message}",
            "Free some of it, say with --cpu and --memory how much the agent is to ask for, or "
            "use another namespace with -n.",
        )
    if any(words in message for words in _OF_LIMITS):
        return AccessError(
            f"The namespace's limits do not allow the agent's pod: {message}",
            "Say what it is to ask for, and may use at most, with --cpu REQUEST:LIMIT and "
            "--memory REQUEST:LIMIT.",
        )
    if any(words in message for words in _OF_NAMES):
        return AccessError(
            f"The cluster refuses the agent's pod: {message}",
            "Name one that is there with --service-account or --priority-class.",
        )
    return AccessError(
        f"The cluster refuses the agent's pod: {message}",
        "A policy of the namespace stands against it. If it says what it wants, --label, "
        "--annotation or --pod-patch can give it that; else use another namespace with -n, or ask "
        "who looks after the cluster.",
    )


def _of_container(container: Mapping[str, Any], secrets: Sequence[str]) -> PodState | None:
    """What the status of the agent's container says; None when it says nothing."""
    state = container.get("state", {})
    if "running" in state:
        return PodState(Phase.RUNNING)
    if "terminated" in state:
        return PodState(Phase.ENDED, error=_ended({"containerStatuses": [container]}))
    if "waiting" in state:
        return _waiting(container.get("image", ""), state["waiting"], secrets)
    return None


def _of_router(status: Mapping[str, Any], secrets: Sequence[str]) -> PodState | None:
    """What keeps a pod's router from starting; None if it has none, or nothing does."""
    for container in status.get("containerStatuses") or ():
        if container.get("name") == _ROUTER:
            waiting = container.get("state", {}).get("waiting", {})
            found = _waiting(container.get("image", ""), waiting, secrets, _ROUTER_HINT)
            if waiting.get("reason") == _CRASHING:
                last = container.get("lastState", {}).get("terminated", {})
                why = f"The router has ended, with exit code {last.get('exitCode')}"
                return PodState(Phase.WAITING, why, AgentError(f"{why}.", _ROUTER_HINT))
            if found.error is not None:
                summary = found.error.summary.replace("agent's container", "router's container")
                return replace(found, error=AgentError(summary, found.error.hint or _ROUTER_HINT))
    return None


def _waiting(
    image: str, waiting: Mapping[str, Any], secrets: Sequence[str], image_hint: str = _IMAGE_HINT
) -> PodState:
    reason = str(waiting.get("reason", ""))
    message = _PREAMBLE.sub("", str(waiting.get("message", "")))
    if "mage" in reason and any(words in message for words in _UNAUTHORIZED):
        summary = f"The image {image} cannot be pulled: {message}"
        return PodState(Phase.WAITING, reason, AgentError(summary, _sign_in_hint(secrets)))
    if reason in _HOPELESS:
        summary = _HOPELESS[reason].format(image=image, message=message or reason)
        hint = image_hint if "mage" in reason or "exec" in message else ""
        return PodState(Phase.WAITING, reason, AgentError(summary, hint))
    if reason == "PodInitializing":
        return PodState(Phase.WAITING, "what the cluster has put into the agent's pod, to start")
    if reason in ("", "ContainerCreating"):
        return PodState(Phase.WAITING, f"the node to start the image {image}")
    return PodState(Phase.WAITING, f"the node to start the image {image} ({reason})")


def _sign_in_hint(secrets: Sequence[str]) -> str:
    if not secrets:
        return (
            "Nodes have to sign in at the registry. Make a Secret of what they do it with, "
            "'kubectl create secret docker-registry NAME …', and name it with --image-pull-secret."
        )
    return (
        f"The registry does not accept what is in the Secret {' or '.join(secrets)}, or there is "
        "no such Secret in the namespace."
    )


def _pull_secrets(pod: Mapping[str, Any]) -> list[str]:
    """The names of those with which nodes pull a pod's images."""
    return [each["name"] for each in pod.get("spec", {}).get("imagePullSecrets") or ()]


def _ended(status: Mapping[str, Any]) -> TowlineError:
    container = _container(status)
    terminated = container.get("state", {}).get("terminated", {})
    reason = status.get("message") or status.get("reason") or terminated.get("message")
    if not reason and terminated:
        reason = f"{terminated.get('reason')}, exit code {terminated.get('exitCode')}"
    summary = f"The agent's pod has ended: {reason or 'it is being deleted'}"
    if terminated.get("reason") == "OOMKilled":
        hint = "It has used more memory than it may: give it more with --memory REQUEST:LIMIT."
        return OutOfMemoryError(summary, hint)
    return AgentError(summary, _IMAGE_HINT if terminated.get("exitCode") in (127, 128) else "")


def _container_ended(container: Mapping[str, Any], pod: str) -> TowlineError:
    terminated = container["state"]["terminated"]
    code = terminated.get("exitCode")
    reason = terminated.get("message") or f"{terminated.get('reason')}, exit code {code}"
    hint = _IMAGE_HINT if code in (127, 128) else ""
    return AgentError(f"The agent in the pod {pod} has ended: {reason.strip()}", hint)


def _container(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """The status of the agent's container; empty while it has none."""
    statuses: list[Mapping[str, Any]] = status.get("containerStatuses") or [{}]
    return next((each for each in statuses if each.get("name") == _AGENT), statuses[0])


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    for condition in status.get("conditions", ()):
        if condition.get("type") == kind:
            found: Mapping[str, Any] = condition
            return found
    return {}
