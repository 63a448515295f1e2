"""Whether the session of an agent is there, as far as can be told without disturbing it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from towline.agent import telling
from towline.agent.telling import AWAY, GONE, away, last_told
from towline.cluster import podstate
from towline.cluster.job import CONTAINER
from towline.cluster.podstate import Phase, PodState
from towline.features.upkeep.survey import Agent
from towline.kube.client import Client
from towline.kube.errors import ApiError, NotFound
from towline.kube.resources import JOBS, PODS, Object

# An agent says little, and what counts last; one of a mesh, a line whenever somebody comes or goes.
LOG_LINES = 500
_ENDED = ("Complete", "Failed", "FailureTarget", "SuccessCriteriaMet")


class Whereabouts(StrEnum):
    """Where a session is: `away` may come back, `gone` is surely gone."""

    THERE = "there"
    AWAY = "away"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Presence:
    """Where the session is, and why it is taken to be so.

    Of several that share an agent, those who have a port of `away` in its pod are not there.
    """

    session: Whereabouts
    why: str
    away: frozenset[int] = frozenset()

    @property
    def gone(self) -> bool:
        """Whether it is surely gone."""
        return self.session is Whereabouts.GONE


async def presence(client: Client, agent: Agent) -> Presence:
    """Look at an agent's Job and pods, and ask the pods' logs. Raises ApiError for the Job's."""
    if agent.job is not None:
        if why := _ends_by_itself(agent.job):
            return Presence(Whereabouts.UNKNOWN, why)
    elif await _has_job(client, agent):
        return Presence(Whereabouts.UNKNOWN, "its Job does not say that it is an agent's")
    elif not _not_ended(agent):
        return Presence(Whereabouts.GONE, "its agent is gone")
    return await _asked(client, agent)


async def _asked(client: Client, agent: Agent) -> Presence:
    """What an agent itself tells of its session."""
    running = [pod for pod in _not_ended(agent) if _runs(pod)]
    if not running:
        why = f"its agent does not run, and cannot be asked: {state(agent)}"
        return Presence(Whereabouts.UNKNOWN, why)
    return await ask(client, agent.namespace, [(_name(pod), CONTAINER) for pod in running])


async def ask(client: Client, namespace: str, containers: Sequence[tuple[str, str]]) -> Presence:
    """What the agents of one session tell of it, each in a running container of a pod."""
    told, ports = set(), []
    for pod, container in containers:
        try:
            log = await _log(client, namespace, pod, container)
            told.add(last_told(log))
            ports.append(away(log))
        except ApiError as error:
            return Presence(Whereabouts.UNKNOWN, f"its agent cannot be asked: {error}")
    if told == {GONE}:
        return Presence(Whereabouts.GONE, "its session is gone, as its agent says")
    if told <= {AWAY, GONE}:
        why = "its session has no link at the moment, and may come back"
        return Presence(Whereabouts.AWAY, why)
    why = "its session is there, or may come back"
    return Presence(Whereabouts.THERE, why, frozenset.intersection(*ports))


async def users(client: Client, agent: Agent) -> list[dict[str, str]] | None:
    """Who uses an agent that several share, as it tells; None when that cannot be known."""
    with suppress(ApiError):
        for pod in filter(_runs, _not_ended(agent)):
            return telling.users(await _log(client, agent.namespace, _name(pod), CONTAINER))
    return None


def state(agent: Agent) -> str:
    """How an agent's pod is, in a word or two."""
    pods = _not_ended(agent)
    if not pods:
        return "no pod" if agent.job else "gone"
    for pod in pods:
        if _runs(pod):
            return "running"
    found = podstate.of_pod(pods[0])
    return "on a lost node" if found.phase is Phase.RUNNING else in_words(found)


def in_words(found: PodState) -> str:
    """How a pod or a container is."""
    return f"waiting for {found.what}" if found.phase is Phase.WAITING else found.phase.value


def _ends_by_itself(job: Object) -> str:
    """Why Kubernetes removes a Job without anybody's doing; "" if it does not."""
    if job["metadata"].get("deletionTimestamp"):
        return "it is being removed"
    conditions = job.get("status", {}).get("conditions") or ()
    if any(each["type"] in _ENDED and each["status"] == "True" for each in conditions):
        return "it has ended, and Kubernetes removes it"
    if job["spec"].get("activeDeadlineSeconds") is not None:
        return "it is starting, or Kubernetes removes it in a moment"
    return ""


async def _has_job(client: Client, agent: Agent) -> bool:
    """Whether there is a Job after all, which somebody has taken the label from."""
    try:
        await client.get(JOBS, agent.name, namespace=agent.namespace)
    except NotFound:
        return False
    return True


async def _log(client: Client, namespace: str, pod: str, container: str) -> str:
    """The end of what an agent has told.

    See https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/.
    """
    params = [("container", container), ("tailLines", str(LOG_LINES))]
    path = PODS.path(namespace, pod, "log")
    return (await client.get_raw(path, params)).decode("utf-8", "replace")


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def _not_ended(agent: Agent) -> list[Object]:
    return [pod for pod in agent.pods if podstate.of_pod(pod).phase is not Phase.ENDED]


def _runs(pod: Object) -> bool:
    return podstate.of_pod(pod).phase is Phase.RUNNING and not podstate.is_cut_off(pod)
