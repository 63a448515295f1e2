"""What is wanted of an exchange or a mirror, and what is to be done to an object for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, Protocol

from towline.cluster.job import AgentSpec
from towline.cluster.keeper import AgentKeeper
from towline.errors import AgentError, SessionError
from towline.features.downlink.mark import VersionMark
from towline.features.downlink.ports import ServicePort
from towline.features.first import first
from towline.features.local.child import Child
from towline.features.local.expose import Exposed
from towline.features.local.programs import Programs
from towline.features.reference import Reference
from towline.features.state import Narrator, note
from towline.kube.client import Client
from towline.routing.rules import Match


@dataclass(frozen=True, slots=True)
class Sharing:
    """Which requests are wanted, of a service that others may have as well.

    `match` are alternatives. Of rules that overlap, those of the higher `priority` win.
    `tls_secret` names a Secret with the service's certificate, or is "".
    """

    match: tuple[Match, ...]
    priority: int
    tls_secret: str
    router_image: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user chose.

    `copy` is for a mirror: the originals answer as ever. With `proxy_protocol`, programs are told
    who their clients are. `child` is what is to answer here, if that is for the session to run.
    With `sharing` it is some requests only; with `mark` the agent's pod is one more of the
    target's, which has that label.
    """

    target: Reference
    exposed: tuple[str, ...]
    strict: bool
    force: bool
    copy: bool
    proxy_protocol: bool
    child: Child
    agent: AgentSpec
    timeout_seconds: float
    sharing: Sharing | None = None
    mark: VersionMark | None = None

    @property
    def command(self) -> str:
        """The command that does it."""
        if self.copy:
            return "mirror"
        return "mesh" if self.sharing or self.mark else "exchange"

    @property
    def otherwise(self) -> str:
        """What becomes of requests for a program of this machine that is not there, as a rule."""
        return "copies are dropped" if self.copy else "requests go to the original pods"

    async def programs(
        self, exposed: tuple[Exposed, ...], tell: Narrator, otherwise: str
    ) -> Programs:
        """The programs here; with `strict` they listen, but for one that the session runs itself.

        Raises TowlineError.
        """
        programs = Programs(exposed, tell, otherwise)
        if self.strict and not self.child:
            await programs.require()
        return programs

    async def over(self, tell: Narrator, *reasons: Coroutine[Any, Any, NoReturn]) -> int:
        """Wait until the program that was run has ended, and tell so: gives its exit code.

        Raises what the first of the `reasons` does that it cannot go on.
        """
        code = await first(self.child.ended(), *reasons)
        tell.event("exited", f"'{self.child}' has ended, with exit code {code}.", code=code)
        return code

    def keeper(self, client: Client, spec: AgentSpec, tell: Narrator) -> AgentKeeper:
        """What keeps such an agent."""
        namespace = client.access.namespace
        told = partial(note, tell)
        return AgentKeeper(client, namespace, spec, tell.progress, self.timeout_seconds, told)

    async def agent_gone(self, keeper: AgentKeeper) -> NoReturn:
        """Wait until somebody deletes the agent's Job, or that is hopeless. Raises AgentError."""
        await first(keeper.gone.wait(), keeper.watch_over())
        raise AgentError(
            f"The agent's Job was deleted: {self.target} goes back to its own pods.",
            f"Start the {self.command} again.",
        )


class Way(Protocol):
    """One way to bring an object's traffic here, for the length of a session."""

    def status(self) -> dict[str, Any]:
        """How it is doing, fit for JSON."""

    def open(self) -> AbstractAsyncContextManager[None]:
        """Inside, the traffic comes here; afterwards it goes where it went before.

        Raises TowlineError, possibly in an exception group, for whatever stands in the way.
        """

    async def ended(self) -> int:
        """Wait until it is over, as the program that was run has ended: gives its exit code.

        Raises TowlineError with the reason when it cannot go on.
        """


class Switch(Protocol):
    """What leads an object's traffic to the agent's pod, and back."""

    async def begin(self, pod: str) -> None:
        """Lead it to that pod, whose ports the session has claimed.

        Raises SessionError when somebody else was quicker; ApiError.
        """

    async def follow(self, pod: str) -> None:
        """The agent has this pod now, and the session has claimed its ports. Raises ApiError."""

    async def end(self) -> None:
        """Lead it back, also if it was led here in part; the agent is needed until that is done.

        Raises TowlineError when it cannot be done.
        """

    async def disturbed(self) -> SessionError:
        """Wait until somebody else changes what is relied on."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """What is to be done to one object, found out without changing anything.

    `otherwise` says what becomes of requests for a program of this machine that does not listen.
    `notes` are what the user should know: what will be otherwise than usual. `addresses` are those
    by which clients know the object, if it has any.
    """

    switch: Switch
    ports: Sequence[ServicePort]
    spec: AgentSpec
    otherwise: str
    notes: Sequence[str]
    addresses: Sequence[str] = ()


Prepare = Callable[[Client, str, Wanted], Awaitable[Takeover]]
"""Looks at an object of a namespace; raises TowlineError when it cannot be taken."""
