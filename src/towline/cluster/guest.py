"""An agent in a pod that is there already, for whoever may make none: a command runs it there.

Each transport of the link is such a command of its own, by its input and output. It ends with them,
and leaves no file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

from towline.cluster import bundle
from towline.cluster.agent import Progress
from towline.cluster.podprobes import containers
from towline.errors import AgentError, UsageError
from towline.kube.client import Client
from towline.kube.errors import NotFound
from towline.kube.exec import ExecError, exec_
from towline.kube.execforward import exec_program
from towline.kube.resources import PODS, Object
from towline.relay.peer import LinkLost

P = TypeVar("P", bound=asyncio.Protocol)

OLDEST_PYTHON = (3, 9)
# https://kubernetes.io/docs/reference/labels-annotations-taints/#kubectl-kubernetes-io-default-container
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_ANOTHER = (
    "Name a pod, and with --container its container, that has Python 3.9 or newer, as python3."
)


@dataclass(frozen=True, slots=True)
class HostPod:
    """The pod where an agent is to run, and its container; "" for the pod's default one."""

    pod: str
    container: str = ""


class Guest:
    """What :class:`towline.cluster.keeper.AgentKeeper` is to a session of its own agent.

    A pod that comes back by its name, or a container that is restarted, gets the agent anew.
    """

    note = ""

    def __init__(
        self,
        client: Client,
        namespace: str,
        host: HostPod,
        progress: Progress,
        timeout_seconds: float,
    ) -> None:
        self.pod = host.pod
        self._client = client
        self._namespace = namespace
        self._container = host.container
        self._progress = progress
        self._timeout_seconds = timeout_seconds

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """The agent has ended with the link."""

    async def start(self) -> None:
        """See that an agent can run there.

        Raises UsageError for a container that there is not, AgentError for one that does not run or
        has no Python that will do, ApiError.
        """
        self._progress(f"Looking at the pod {self.pod}")
        pod = await self._client.get(PODS, self.pod, namespace=self._namespace)
        self._container = _choose(pod, self._container)
        _refuse_if_down(pod, self._container)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._refuse_if_unfit()
        except TimeoutError:
            raise AgentError(
                f"A command in the pod {self.pod} did not answer within "
                f"{self._timeout_seconds:.0f} s."
            ) from None

    async def ready(self) -> None:
        """There is nothing beside the agent."""

    async def settle(self) -> None:
        """Nothing ends it but the link."""

    def doubt(self) -> None:
        """Each transport is made anew, whatever was lost."""
        self._client.renew()

    async def watch_over(self) -> None:
        """What becomes of somebody else's pod is not asked."""

    async def connect(self, protocol_factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        """A new agent, and the transport to it. Raises ApiError, LinkLost while there is no pod."""
        command, archive = bundle.guest_command("--stdio")
        where = (self._client, self._namespace, self.pod, self._container)
        try:
            return await exec_program(*where, command, archive, protocol_factory)
        except NotFound as error:
            raise LinkLost(f"the pod is gone: {error}") from error

    async def _refuse_if_unfit(self) -> None:
        """Refuse a container without Python, or with one that is too old."""
        where = (self._client, self._namespace, self.pod, self._container)
        named = f"the container {self._container} of the pod {self.pod}"
        try:
            async with await exec_(*where, bundle.guest_probe(), stdin=False) as process:
                said = await process.stdout.read()
                complaint = await process.stderr.read()
                code = await process.wait()
        except ExecError as error:
            # Before that each runtime says how it came to this.
            why = error.reason.rpartition("unable to start container process: ")[2]
            what = "There is no Python in" if "not found" in why else "No command can be run in"
            raise AgentError(f"{what} {named}: {why}", _ANOTHER) from error
        words = said.decode("ascii", "replace").split()
        if code != 0 or not words or not all(word.isdigit() for word in words):
            why = complaint.decode("utf-8", "replace").strip() or f"exit code {code}"
            raise AgentError(f"The Python in {named} does not run: {why}", _ANOTHER)
        if tuple(map(int, words)) < OLDEST_PYTHON:
            raise AgentError(f"The Python in {named} is too old: {'.'.join(words)}.", _ANOTHER)


def _choose(pod: Object, container: str) -> str:
    """The container that is meant, as kubectl chooses it."""
    names = [each["name"] for each in containers(pod)]
    if container and container not in names:
        raise UsageError(
            f"The pod {pod['metadata']['name']} has no container {container}.",
            f"It has {', '.join(names)}.",
        )
    default: str = (pod["metadata"].get("annotations") or {}).get(_DEFAULT_CONTAINER, "")
    first: str = pod["spec"]["containers"][0]["name"]
    return container or (default if default in names else first)


def _refuse_if_down(pod: Object, container: str) -> None:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    kinds = ("initContainerStatuses", "containerStatuses")
    known = {each["name"]: each for kind in kinds for each in status.get(kind) or ()}
    if "running" not in known.get(container, {}).get("state", {}):
        phase = status.get("phase", "unknown")
        raise AgentError(
            f"The container {container} of the pod {name} does not run: the pod is {phase}.",
            "Name another pod with --via.",
        )
