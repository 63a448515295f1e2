"""A forward without an agent: what stands where else an agent and the link to it are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Self

from towline.errors import UsageError
from towline.features.reference import Reference
from towline.features.rights import link_rights, require_all
from towline.features.state import Narrator, SessionState
from towline.features.uplink.agentlink import unlisted
from towline.features.uplink.forward.target import Host, Wish
from towline.kube.access import Right
from towline.kube.client import Client
from towline.kube.config import Access

_HINT = "Leave out --no-agent."


class Agentless:
    """What :class:`towline.features.uplink.agentlink.AgentLink` is to a session with an agent."""

    client: Client

    def __init__(self, command: str, access: Access, tell: Narrator) -> None:
        self._access = access
        self._state = SessionState(command, access, tell, lambda: None, str)

    def status(self) -> dict[str, Any]:
        """How the session is doing, fit for JSON."""
        return {**self._state.status(), **unlisted("no agent")}

    async def __aenter__(self) -> Self:
        self.client = await Client(self._access).__aenter__()
        return self

    async def __aexit__(self, *details: Any) -> None:
        await self.client.__aexit__(*details)

    async def start(self) -> None:
        """Learn whether connections will be allowed. Raises AccessError, ApiError."""
        namespace = self._access.namespace
        looking = (Right(verb, "", "pods", namespace=namespace) for verb in ("list", "watch"))
        await require_all(self.client, [*looking, *link_rights(namespace, "portforward")])

    @asynccontextmanager
    async def linked(self) -> AsyncIterator[None]:
        """There is no link."""
        try:
            yield
        finally:
            self._state.ending()

    def live(self) -> None:
        """Everything is there that the session is for."""
        self._state.live()


def refuse_unfit(target: Reference | Host, wishes: Iterable[Wish]) -> None:
    """Raise UsageError for what is reached by an agent only."""
    if isinstance(target, Host):
        raise UsageError(f"{target} is no pod: only an agent's pod reaches it.", _HINT)
    for wish in wishes:
        if wish.remote.lower().endswith("/udp"):
            raise UsageError(f"{wish.remote}: only an agent carries datagrams.", _HINT)
