"""One agent in the cluster: its Job, the wait for its pod, transports to it, and its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from towline.cluster import podstate
from towline.cluster.job import CONTAINER, AgentSpec, manifest
from towline.cluster.podstate import Phase, restarts
from towline.cluster.transports import Transports
from towline.errors import AgentError, ConfigError, TowlineError, leading_error
from towline.kube.client import Client, Propagation
from towline.kube.errors import ApiError, ConnectionFailed, Forbidden, NotFound, ServerError
from towline.kube.resources import EVENTS, JOBS, PODS, Object
from towline.kube.watch import EventType, watch

P = TypeVar("P", bound=asyncio.Protocol)
Progress = Callable[[str], None]
Enough = Callable[[Object], bool]

# A pod that has come no further for this long has its events looked up, for the reason.
EXPLAIN_SECONDS = 2.0
# A watch of what becomes of it, which has failed, begins anew after such a time.
WATCH_AGAIN_SECONDS = 10.0


class Agent:
    """A Job of ours and its one pod. `pod` is its name once it runs, `addresses` are its own.

    `note` is what the user should know of it, if anything.
    """

    note = ""

    def __init__(self, client: Client, namespace: str, spec: AgentSpec) -> None:
        self.pod = ""
        self.addresses: list[str] = []
        self._client = client
        self._namespace = namespace
        self._spec = spec
        self._uid = ""
        self._asked = False  # to create the Job, which may therefore be there
        self._created = False
        self._transports = Transports(client, namespace, CONTAINER, spec.link_port)
        self._waiting_for = ""
        self._began = 0.0  # loop time

    async def start(self, progress: Progress, timeout_seconds: float) -> None:
        """Create the Job and wait until its pod runs.

        `progress` gets what is waited for, each time that changes. Raises AgentError when the
        pod cannot start or has not within `timeout_seconds`, AccessError when the cluster
        refuses it, ApiError when the API does. Whatever was created then removes itself;
        :meth:`stop` does so at once.
        """
        self._say(progress, "the cluster to accept the agent's Job")
        await self._create()
        self._say(progress, "the cluster to make the agent's pod")
        await self._wait(progress, timeout_seconds, lambda _: True)

    async def ready(self, progress: Progress, timeout_seconds: float) -> None:
        """Wait for a router or sidecar beside the agent, if any; raises as :meth:`start` does.

        The link should be up: the agent waits for that no longer than for a session that is gone.
        """
        beside = "router" if self._spec.router else "sidecar" if self._spec.sidecar else ""
        if not beside:
            return
        self._say(progress, f"the {beside} to be ready")
        await self._wait(progress, timeout_seconds, podstate.is_ready)

    async def connect(self, protocol_factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        """A new transport to the running agent, shaped as `loop.create_connection` gives it.

        It is as :meth:`towline.cluster.transports.Transports.connect` says.
        """
        return await self._transports.connect(self.pod, protocol_factory)

    @property
    def _labels(self) -> str:
        """By what its pods are found."""
        # The label without a prefix is older than Kubernetes 1.27, and still set.
        return f"job-name={self._spec.name}"

    @property
    def owner_reference(self) -> dict[str, Any]:
        """The Job, for the metadata of whatever is to go with it."""
        return {"apiVersion": "batch/v1", "kind": "Job", "name": self._spec.name, "uid": self._uid}

    async def rejoin(self, progress: Progress, timeout_seconds: float) -> None:
        """Wait until the Job has replaced its lost pod, and that one runs.

        Raises NotFound when there is no Job any more, AgentError when the new pod does not run
        within `timeout_seconds`.
        """
        await self._see_job()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._watch_pod(progress)
        except TimeoutError:
            raise AgentError(
                f"The agent's pod was lost, and no new one has started within "
                f"{timeout_seconds:.0f} s; it was waiting for {self._waiting_for}.",
                self._what_to_do(),
            ) from None

    async def _see_job(self) -> None:
        """Raise NotFound unless it is there: who made it may patch it, who joined may get it."""
        name, namespace = self._spec.name, self._namespace
        try:
            await self._client.patch(JOBS, name, {}, namespace=namespace, dry_run=True)
        except Forbidden:
            await self._client.get(JOBS, name, namespace=namespace)

    async def settle(self) -> None:
        """Lift the Job's deadline: from now on the agent itself watches over its client."""
        await self._renew(None)

    async def why_lost(self) -> TowlineError | None:
        """None while the pod is there, neither ended nor being deleted, and its node well."""
        if not self.pod:
            return AgentError("The agent has not started")
        try:
            pod = await self._client.get(PODS, self.pod, namespace=self._namespace)
        except NotFound as error:
            return error
        return podstate.why_lost(pod)

    async def tell_restarts(self, tell: Callable[[TowlineError], None]) -> NoReturn:
        """Tell, each time that the agent is started again in its pod, why it had ended."""
        seen: dict[str, int] = {}
        while True:
            with contextlib.suppress(ApiError, ConfigError):
                await self._watch_restarts(seen, tell)
            await asyncio.sleep(WATCH_AGAIN_SECONDS)

    async def _watch_restarts(
        self, seen: dict[str, int], tell: Callable[[TowlineError], None]
    ) -> None:
        changes = watch(self._client, PODS, namespace=self._namespace, labels=self._labels)
        async with contextlib.aclosing(changes) as events:
            async for event in events:
                if event.type is EventType.SYNCED:
                    continue
                pod, (count, why) = event.object["metadata"]["name"], restarts(event.object)
                if count > seen.setdefault(pod, count) and why is not None:
                    tell(why)
                seen[pod] = count

    async def stop(self) -> bool:
        """Delete the Job and with it the pod; safe to call twice, or when there is none.

        False says that there is none yet, but that one may come of a request to create it that
        was not answered: ask again. Raises ApiError when the API server cannot be asked in
        time; the agent then ends by itself after its grace time.
        """
        if not self._asked:
            return True
        try:
            await self._client.delete(
                JOBS, self._spec.name, namespace=self._namespace, propagation=Propagation.BACKGROUND
            )
        except NotFound:
            if not self._created:
                return False
        self._asked = False
        return True

    async def discard(self) -> bool:
        """Let go of it, as its pod is lost; raises, and gives the same as :meth:`stop`."""
        return await self.stop()

    async def _create(self) -> None:
        # Before the request is sent: this may be cancelled while the answer is under way.
        self._asked = True
        self._began = asyncio.get_running_loop().time()
        try:
            made = await self._client.create(JOBS, manifest(self._spec), namespace=self._namespace)
        except TowlineError as error:
            self._asked = not _surely_undone(error)
            raise
        self._created = True
        self._uid = made["metadata"]["uid"]
        if self._spec.companions:
            await self._accompany()

    async def _accompany(self) -> None:
        """Make what the pod needs, owned by the Job, then let it make the pod."""
        for resource, body in self._spec.companions:
            metadata = {
                **body["metadata"],
                "labels": {**self._spec.pod.labels, **body["metadata"].get("labels", {})},
                "ownerReferences": [self.owner_reference],
            }
            await self._client.create(
                resource, {**body, "metadata": metadata}, namespace=self._namespace
            )
        await self._change({"parallelism": 1})

    async def _wait(self, progress: Progress, timeout_seconds: float, enough: Enough) -> None:
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._until(progress, enough)
        except TimeoutError:
            raise AgentError(
                f"The agent has not started within {timeout_seconds:.0f} s; it was waiting for "
                f"{self._waiting_for}.",
                self._what_to_do(),
            ) from None

    async def _until(self, progress: Progress, enough: Enough) -> None:
        """Watch the pod; meanwhile keep the Job's lease alive and look for what holds it up."""
        try:
            async with asyncio.TaskGroup() as group:
                renewing = group.create_task(self._keep_lease())
                explaining = group.create_task(self._explain(progress))
                await self._watch_pod(progress, enough)
                renewing.cancel()
                explaining.cancel()
        except BaseExceptionGroup as failures:
            # Whoever starts an agent wants to know its errors by their types.
            raise leading_error(failures) or failures from None

    async def _watch_pod(self, progress: Progress, enough: Enough = lambda _: True) -> None:
        """Return when the pod runs, and is as is needed."""
        changes = watch(self._client, PODS, namespace=self._namespace, labels=self._labels)
        async with contextlib.aclosing(changes) as events:
            async for event in events:
                if event.type is EventType.SYNCED:
                    continue
                state = podstate.of_pod(event.object)
                if state.phase is Phase.ENDED and self._spec.relied_on:
                    continue  # the Job makes another
                self.pod = event.object["metadata"]["name"]
                self.addresses = podstate.addresses(event.object)
                if state.error is not None:
                    raise state.error
                if state.phase is not Phase.RUNNING:
                    self._say(progress, state.what)
                elif enough(event.object):
                    return

    async def _keep_lease(self) -> None:
        """Move the Job's deadline ahead for as long as the pod is being waited for."""
        while True:
            await asyncio.sleep(self._spec.lease_seconds / 3)
            with contextlib.suppress(TowlineError):
                await self._renew_lease(self._age_seconds + self._spec.lease_seconds)

    @property
    def _age_seconds(self) -> int:
        return int(asyncio.get_running_loop().time() - self._began)

    async def _renew_lease(self, deadline_seconds: int) -> None:
        await self._renew(deadline_seconds)

    async def _explain(self, progress: Progress) -> None:
        """Tell from events why the start takes long, and end it when they say it is in vain."""
        while True:
            await asyncio.sleep(EXPLAIN_SECONDS)
            event = podstate.latest(await self._events())
            if event is None:
                continue
            state = podstate.of_event(event)
            if state.error is not None:
                raise state.error
            known = self._waiting_for.partition(" — ")[0].removesuffix(f": {state.what}")
            self._say(progress, f"{known} — {state.what}")

    async def _events(self) -> list[dict[str, Any]]:
        """The events of our pod, or of the Job while that has none; none without the right."""
        subject = f"involvedObject.name={self.pod or self._spec.name}"
        try:
            return (
                await self._client.list(EVENTS, namespace=self._namespace, fields=subject)
            ).items
        except TowlineError:
            return []

    async def _renew(self, deadline_seconds: int | None) -> None:
        await self._change({"activeDeadlineSeconds": deadline_seconds})

    async def _change(self, spec: dict[str, Any]) -> None:
        await self._client.patch(JOBS, self._spec.name, {"spec": spec}, namespace=self._namespace)

    def _what_to_do(self) -> str:
        """The hint for an agent that has not started in time."""
        if self.pod:
            return (
                "Give it longer with --timeout, or look at it with 'kubectl get events -n "
                f"{self._namespace}'."
            )
        return (
            "A quota of the namespace that is full, or an admission policy, may stand against "
            f"the pod: 'kubectl get events -n {self._namespace}' tells. Use another namespace "
            "with -n, or give it longer with --timeout."
        )

    def _say(self, progress: Progress, what: str) -> None:
        if what != self._waiting_for:
            self._waiting_for = what
            progress(f"Waiting for {what}")


def _surely_undone(error: TowlineError) -> bool:
    """Whether a create that failed so has made nothing, and will not."""
    if isinstance(error, ConnectionFailed):
        return not error.sent
    return not isinstance(error, ServerError)
