"""An agent in an ephemeral container of somebody else's pod, whose ports it redirects to itself."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from towline.agent.intercept import Intercepted
from towline.cluster import podstate, sidecar
from towline.cluster.agent import Progress
from towline.cluster.job import AgentSpec, container, now
from towline.cluster.podprobes import containers, probed_ports
from towline.cluster.podstate import Phase
from towline.cluster.tenants import (
    COMMAND_ENV,
    NAME_PREFIX,
    OWNER_ENV,
    SINCE_ENV,
    Tenant,
    tenants,
)
from towline.cluster.transports import Transports
from towline.errors import AccessError, AgentError, SessionError, TowlineError, UsageError
from towline.kube.client import Client, PatchKind
from towline.kube.errors import Conflict, Forbidden, NotFound
from towline.kube.resources import PODS, Object
from towline.kube.watch import until
from towline.wire.target import Port, Target

P = TypeVar("P", bound=asyncio.Protocol)

# Above what Linux takes for outgoing connections (ip_local_port_range), so that hardly any
# program of the pod has it.
LINK_PORTS = range(61000, 65000)
# A pod's status may change between reading and writing, but not for ever.
TRIES = 20
# An agent that starts just now hears a goodbye only when it runs.
GOODBYE_TRIES = 20
GOODBYE_RETRY_SECONDS = 0.5
STOP_SECONDS = 5.0

_OTHERWISE = "Take the traffic at the service or the workload: --mode selector, or --mode scale."
_ADMISSION = ("violates PodSecurity", "admission webhook", "ValidatingAdmissionPolicy")
# It may change this pod's network, and nothing else.
_SECURITY = {
    "runAsUser": 0,
    "runAsNonRoot": False,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


class EphemeralAgent:
    """One agent in one pod, from :meth:`start` until its container ends; then make another.

    Of `spec` image, grace time, role and owner are used. What comes from outside to `ports` goes to
    the session that claims it, else to the pod's own programs, where probes of the kubelet always
    go. The container ends by the goodbye of a link, or with its client gone for the grace time;
    it cannot be removed, and stays listed in the pod's spec.
    """

    def __init__(
        self, client: Client, namespace: str, pod: str, spec: AgentSpec, ports: Sequence[Port]
    ) -> None:
        self.pod = pod
        self.container = f"{NAME_PREFIX}{secrets.token_hex(4)}"
        self._client = client
        self._namespace = namespace
        self._ports = tuple(ports)
        intercepted = tuple(Intercepted(port, Target("", port.number)) for port in ports)
        self._spec = replace(spec, intercepted=intercepted)
        self._transports: Transports | None = None
        self._dismissed: set[str] = set()

    async def check(self, *, force: bool) -> None:
        """Learn whether the cluster would let it start, without changing anything.

        Raises as :meth:`start` does; with `force`, others' agents are as if dismissed.
        """
        if force:
            self._dismissed.update(tenant.container for tenant in await self.tenants())
        await self._add(dry_run=True)

    async def start(self, progress: Progress, timeout_seconds: float) -> None:
        """Add the container, and wait until it runs.

        `progress` gets what is waited for, each time that changes. Raises UsageError for a pod in
        which it cannot work, SessionError when another session has one of the ports, AccessError
        when a policy is against it, ApiError, and AgentError when the container does not run
        within `timeout_seconds`.
        """
        said = f"the cluster to add a container to the pod {self.pod}"
        progress(f"Waiting for {said}")

        def runs(found: Object | None) -> bool:
            nonlocal said
            state = self._state(found)
            if state.error is not None:
                raise state.error
            if state.what and state.what != said:
                said = state.what
                progress(f"Waiting for {said}")
            return state.phase is Phase.RUNNING

        try:
            async with asyncio.timeout(timeout_seconds):
                await self._add()
                await until(self._client, PODS, self.pod, runs, namespace=self._namespace)
        except TimeoutError:
            raise AgentError(
                f"The agent has not started within {timeout_seconds:.0f} s; it was waiting for "
                f"{said}.",
                "Give it longer with --timeout, or look at it with 'kubectl describe pod "
                f"{self.pod} -n {self._namespace}'.",
            ) from None

    async def connect(self, protocol_factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        """A new transport to the running agent, shaped as `loop.create_connection` gives it.

        Raises ApiError; NotFound when there is no pod any more.
        """
        assert self._transports is not None, "it has not been started"
        return await self._transports.connect(self.pod, protocol_factory)

    async def failure(self) -> TowlineError | None:
        """Why the agent cannot be reached any more; None when its container runs, or is to.

        It is a SessionError when somebody else's has taken its place. Raises ApiError.
        """
        try:
            pod = await self._client.get(PODS, self.pod, namespace=self._namespace)
        except NotFound:
            pod = None
        state = self._state(pod)
        if pod is not None and state.error is not None:
            for tenant in self._others(pod):
                return SessionError(
                    f"{tenant.owner} has taken over {self._named_ports(tenant)} of the pod "
                    f"{self.pod}."
                )
        return state.error

    async def dismiss(self, tenant: Tenant) -> None:
        """Tell another session's agent in this pod to end, and do not mind it any more.

        One that cannot be reached for long is about to end by itself. Raises ApiError.
        """
        why = f"{self._spec.owner} takes over"
        for _ in range(GOODBYE_TRIES):
            if await self._say_goodbye(tenant, why) or tenant not in await self.tenants():
                break
            await asyncio.sleep(GOODBYE_RETRY_SECONDS)
        self._dismissed.add(tenant.container)

    async def stop(self) -> None:
        """Have the container end that no link has come to yet; within `STOP_SECONDS`.

        One that does not run by then ends when it has waited for the grace time.
        """
        with contextlib.suppress(TowlineError, TimeoutError):
            # Not asyncio.timeout: in Python 3.11 it does not work in a task that was cancelled.
            await asyncio.wait_for(self._stop(), STOP_SECONDS)

    async def _stop(self) -> None:
        while True:
            pod = await self._client.get(PODS, self.pod, namespace=self._namespace)
            own = [each for each in tenants(pod) if each.container == self.container]
            if not own or await self._say_goodbye(own[0], "it was not wanted after all"):
                return
            await asyncio.sleep(GOODBYE_RETRY_SECONDS)

    async def _say_goodbye(self, tenant: Tenant, why: str) -> bool:
        return await tenant.say_goodbye(self._client, self._namespace, self.pod, why)

    async def _is_own_and_ending(self, tenant: Tenant) -> bool:
        """Whether it is what a session of the same person's has left, which drains.

        Another person's might be one that has only just started.
        """
        return (
            tenant.owner == self._spec.owner
            and tenant.runs
            and not await tenant.is_waiting(self._client, self._namespace, self.pod)
        )

    async def tenants(self) -> list[Tenant]:
        """The agents of other sessions that run in the pod for one of the ports now."""
        return self._others(await self._client.get(PODS, self.pod, namespace=self._namespace))

    async def _add(self, *, dry_run: bool = False) -> None:
        """Add the container to the pod as it was seen: nobody else's has come meanwhile."""
        for tries in range(TRIES):
            pod = await self._client.get(PODS, self.pod, namespace=self._namespace)
            self._refuse_if_unfit(pod)
            if self.container in _ephemeral_names(pod):
                return  # it was added, though that was not answered
            for tenant in self._others(pod):
                if not await self._is_own_and_ending(tenant):
                    raise self._taken(tenant)
                self._dismissed.add(tenant.container)
            link_port = _free_port(pod)
            self._transports = Transports(self._client, self._namespace, self.container, link_port)
            try:
                await self._patch(pod, self._container(pod, link_port), dry_run=dry_run)
            except Conflict:
                if tries + 1 == TRIES:
                    raise
            except Forbidden as refusal:
                raise _of_refusal(refusal, self._namespace) from refusal
            else:
                return

    async def _patch(self, pod: Object, added: dict[str, Any], *, dry_run: bool) -> None:
        version = pod["metadata"]["resourceVersion"]
        await self._client.patch(
            PODS,
            self.pod,
            {
                "metadata": {"resourceVersion": version},
                "spec": {"ephemeralContainers": [added]},
            },
            namespace=self._namespace,
            kind=PatchKind.STRATEGIC,
            subresource="ephemeralcontainers",
            dry_run=dry_run,
        )

    def _container(self, pod: Object, link_port: int) -> dict[str, Any]:
        common = container(self._spec, self.container, link_port)
        probed = probed_ports(pod)
        options = [
            "--redirect",
            *(f"--node={address}" for address in _node_addresses(pod)),
            *(f"--behind={address}" for address in _sidecar_addresses(pod)),
            *(
                f"--probed={port.number}={probed[port.number]}"
                for port in self._ports
                if port.number in probed
            ),
        ]
        return {
            **common,
            "args": [*common["args"], *options],
            "env": [
                {"name": OWNER_ENV, "value": self._spec.owner},
                {"name": SINCE_ENV, "value": now()},
                {"name": COMMAND_ENV, "value": self._spec.role},
            ],
            "securityContext": _SECURITY,
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }

    def _state(self, pod: Object | None) -> podstate.PodState:
        if pod is None:
            return podstate.PodState(Phase.ENDED, error=AgentError(f"The pod {self.pod} is gone."))
        return podstate.of_ephemeral(pod, self.container)

    def _others(self, pod: Object) -> list[Tenant]:
        return [
            tenant
            for tenant in tenants(pod)
            if tenant.container not in (self.container, *self._dismissed)
            and set(tenant.ports) & set(self._ports)
        ]

    def _taken(self, tenant: Tenant) -> SessionError:
        return SessionError(
            f"{self._named_ports(tenant)} of the pod {self.pod} is intercepted by {tenant.owner}, "
            f"since {tenant.since}.",
            "Ask them to end it, or take over with --force.",
        )

    def _named_ports(self, tenant: Tenant) -> str:
        return ", ".join(str(port) for port in self._ports if port in tenant.ports)

    def _refuse_if_unfit(self, pod: Object) -> None:
        if pod["spec"].get("hostNetwork"):
            raise UsageError(
                f"The pod {self.pod} uses its node's network: a redirect in it would act on the "
                "whole node.",
                _OTHERWISE,
            )
        if pod["spec"].get("os", {}).get("name") == "windows":
            raise UsageError(f"The pod {self.pod} runs on Windows.", _OTHERWISE)
        ended = podstate.of_ephemeral(pod, self.container).error
        if ended is not None:
            raise ended


def _node_addresses(pod: Object) -> list[str]:
    """All addresses of the pod's node; before Kubernetes 1.29 one is told."""
    status = pod.get("status", {})
    addresses = {each["ip"] for each in status.get("hostIPs") or ()}
    return sorted({*addresses, status.get("hostIP", "")} - {""})


def _sidecar_addresses(pod: Object) -> tuple[str, ...]:
    return sidecar.ADDRESSES if sidecar.is_in(pod) else ()


def _ephemeral_names(pod: Object) -> list[str]:
    return [each["name"] for each in pod["spec"].get("ephemeralContainers", ())]


def _free_port(pod: Object) -> int:
    """A port for the link that no container of the pod has, as far as its spec tells."""
    taken = {tenant.link_port for tenant in tenants(pod)}
    for each in containers(pod):
        taken |= {port["containerPort"] for port in each.get("ports", ())}
    return secrets.choice([port for port in LINK_PORTS if port not in taken])


def _of_refusal(refusal: Forbidden, namespace: str) -> TowlineError:
    """What a refusal means here: by a policy it is one of what the redirect needs."""
    message = refusal.status.message if refusal.status else ""
    if not any(words in message for words in _ADMISSION):
        return refusal
    return AccessError(
        f"The namespace {namespace} does not allow the capability NET_ADMIN, which a redirect in "
        f"a pod needs: {message}",
        _OTHERWISE,
    )
