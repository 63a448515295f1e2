"""An agent of this session's own, and the link to it: with these every way in begins."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from towline.cluster.guest import Guest, HostPod
from towline.cluster.job import AgentSpec, owner_name
from towline.cluster.keeper import AgentKeeper
from towline.features.state import Narrator, SessionState, note
from towline.features.uplink.shortcut import Shortcut, Transport
from towline.kube.client import Client
from towline.kube.config import Access
from towline.link.link import Link
from towline.relay.peer import LinkLost
from towline.relay.request import StreamReset, request
from towline.wire.frames import Kind

# Of the word by which an agent that several share knows a session.
SESSION_BYTES = 16
# So often it is asked who else is there.
USERS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """What the user chose: the agent, or the pod where it is to run, and the way of the link.

    `timeout_seconds` is how long the agent may take to start.
    """

    agent: AgentSpec | HostPod
    timeout_seconds: float
    transport: Transport = Transport.AUTO


def unlisted(mode: str) -> dict[str, str]:
    """What a session tells that has nothing in the cluster by which others could find it."""
    return {"unlisted": mode, "owner": owner_name()}


def role_of(command: str) -> str:
    """What the agent of a command is called in the cluster."""
    return "uplink" if command == "connect" else command


class AgentLink:
    """Brings an agent up, or a guest of a pod, and the link to it, for the session of `command`.

    It is an async context manager, inside which there is a `client` for the cluster's API; then
    :meth:`start`, beside which there is time to look at things; then :meth:`linked`. Leaving it
    deletes the agent. Each raises TowlineError, possibly in an exception group. `on_lost` is called
    when the link is lost, after which there may be another agent.
    """

    client: Client

    def __init__(
        self,
        command: str,
        access: Access,
        options: LinkOptions,
        tell: Narrator,
        *,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        spec = options.agent
        self._access = access
        self._hello = _hello(command, spec)
        if not (isinstance(spec, HostPod) or spec.shared):
            spec = replace(spec, role=role_of(command))
        self._spec = spec
        self._timeout_seconds = options.timeout_seconds
        self._tell = tell
        self._on_lost = on_lost
        self._state = SessionState(command, access, tell, self._doubt, lambda: self.pod)
        self._stack = AsyncExitStack()
        self._keeper: AgentKeeper | Guest | None = None
        self._link: Link | None = None
        # Each transport to a guest has an agent of its own, and none can be asked to wait for it.
        self._transport = Transport.API if isinstance(spec, HostPod) else options.transport
        self._shortcut: Shortcut | None = None
        self._others: list[dict[str, str]] = []

    def status(self) -> dict[str, Any]:
        """How the session is doing, fit for JSON."""
        return {
            **self._state.status(),
            **(unlisted("via") if isinstance(self._spec, HostPod) else {}),
            "streams": self._link.streams if self._link else 0,
            "received": self._link.received if self._link else 0,
            "sent": self._link.sent if self._link else 0,
            "round_trip": self._link.round_trip if self._link else None,
            "transport": self._shortcut.transport if self._shortcut else "",
            **({"shared_with": self._others} if self._hello else {}),
        }

    @property
    def pod(self) -> str:
        """The name of the agent's pod, which may be replaced by another."""
        return self._keeper.pod if self._keeper else ""

    async def __aenter__(self) -> AgentLink:
        async with AsyncExitStack() as stack:
            self.client = await stack.enter_async_context(Client(self._access))
            self._keeper = await stack.enter_async_context(self._new_keeper())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *details: Any) -> bool | None:
        return await self._stack.__aexit__(*details)

    async def start(self) -> None:
        """Start the agent."""
        assert self._keeper
        await self._keeper.start()
        if self._keeper.note:
            self._tell.event("note", self._keeper.note)

    @asynccontextmanager
    async def linked(self) -> AsyncIterator[Link]:
        """Inside, the link is up, or coming back, to a new agent if need be."""
        assert self._keeper
        keeper = self._keeper
        self._shortcut = shortcut = Shortcut(keeper.connect, self._transport)
        async with (
            Link(
                shortcut.connect, self._state, hello=self._hello, on_transport=shortcut.consider
            ) as link,
            asyncio.TaskGroup() as group,
        ):
            self._link = link
            self._tell.progress("Waiting for the agent to answer")
            await link.first(self._timeout_seconds)
            await keeper.ready()
            await shortcut.begin(link, group)
            tasks = [
                group.create_task(keeper.settle(), name="settle"),
                group.create_task(keeper.watch_over(), name="witness"),
            ]
            if self._hello:
                tasks.append(group.create_task(self._follow_users(link), name="users"))
            try:
                yield link
            finally:
                self._state.ending()
                for task in tasks:
                    task.cancel()

    def live(self) -> None:
        """Everything is there that the session is for."""
        self._state.live()

    def _new_keeper(self) -> AgentKeeper | Guest:
        where = (self.client, self._access.namespace)
        if isinstance(self._spec, HostPod):
            return Guest(*where, self._spec, self._state.progress, self._timeout_seconds)
        told = partial(note, self._tell)
        return AgentKeeper(*where, self._spec, self._state.progress, self._timeout_seconds, told)

    async def _follow_users(self, link: Link) -> None:
        """Ask again and again who else uses the agent."""
        while True:
            with suppress(LinkLost, StreamReset, TimeoutError, ValueError):
                answer = await request(link.peer, Kind.USERS, b"", USERS_SECONDS)
                self._others = [dict(each) for each in json.loads(answer)]
            await asyncio.sleep(USERS_SECONDS)

    def _doubt(self) -> None:
        if self._keeper:
            self._keeper.doubt()
        self._on_lost()


def _hello(command: str, spec: AgentSpec | HostPod) -> dict[str, object]:
    """What the agent is told of a session, if it serves several: by a word that only it knows."""
    if isinstance(spec, HostPod) or not spec.shared:
        return {}
    return {
        "session": secrets.token_hex(SESSION_BYTES),
        "who": spec.owner,
        "command": command,
        "grace": spec.grace_seconds,
    }
