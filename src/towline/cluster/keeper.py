"""Keeps one agent in the cluster: a lost pod is replaced by a new Job when it is next needed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from towline.cluster.agent import Agent, Progress
from towline.cluster.job import AgentSpec, new_name
from towline.cluster.podstate import OutOfMemoryError
from towline.cluster.sharing import SharedAgent
from towline.cluster.witness import Witness
from towline.errors import AgentError, ConfigError, HopelessError, TowlineError
from towline.kube.client import Client
from towline.kube.errors import (
    ApiError,
    ConnectionFailed,
    NotFound,
    ServerError,
    TooManyRequests,
    Unauthorized,
)
from towline.kube.streams import PortForwardError
from towline.relay.peer import LinkLost

A = TypeVar("A")
P = TypeVar("P", bound=asyncio.Protocol)

STOP_SECONDS = 5.0
# A Job whose creation was not answered is looked for so often, within the above.
UNSURE_TRIES = 15
UNSURE_RETRY_SECONDS = 0.2
SETTLE_SECONDS = 1.0
# A question that was sent when the network was away is repeated by the kernel ever more seldom,
# on a connection that may be none any more: then it is asked anew, so many times at once.
ASK_AGAIN_SECONDS = 2.0
MOST_QUESTIONS = 4
# Killed for their memory so often within that time, agents are no more made.
MOST_KILLS = 3
KILLS_SECONDS = 600.0


class AgentKeeper:
    """The agent of one session, as an async context manager; leaving it deletes the Job.

    When that fails, and nothing else went wrong, leaving it raises AgentError: the agent then
    ends by itself after its grace time.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        spec: AgentSpec,
        progress: Progress,
        timeout_seconds: float,
        on_killed: Callable[[TowlineError], None] = lambda _: None,
    ) -> None:
        self._on_killed = on_killed
        self._kills: list[float] = []  # loop times
        self._witness = Witness(client, namespace)
        self._client = client
        self._namespace = namespace
        self._spec = spec
        self._progress = progress
        self._timeout_seconds = timeout_seconds
        self._agent = self._new_agent(spec)
        # Agents that were replaced, and whose Jobs may still be there.
        self._lost: list[Agent] = []
        self._suspect = False
        self._released = False
        self._turn = asyncio.Lock()
        self.gone = asyncio.Event()
        """Set when a Job on which other things rely has been deleted: they are gone with it."""

    async def __aenter__(self) -> AgentKeeper:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._released:
            return
        try:
            # Not asyncio.timeout: in Python 3.11 it does not work in a task that was cancelled.
            await asyncio.wait_for(self._stop_all(), STOP_SECONDS)
        except (TowlineError, TimeoutError) as error:
            if kind is None or issubclass(kind, asyncio.CancelledError):
                raise AgentError(
                    f"The agent's Job could not be deleted: {error or 'no answer in time'}",
                    f"Nothing need be done: the agent ends by itself within "
                    f"{self._spec.grace_seconds} s, and Kubernetes then removes its Job.",
                ) from error

    @property
    def pod(self) -> str:
        """The name of the agent's pod."""
        return self._agent.pod

    @property
    def note(self) -> str:
        """What the user should know of the agent; "" for nothing."""
        return self._agent.note

    @property
    def addresses(self) -> list[str]:
        """The addresses of that pod."""
        return self._agent.addresses

    @property
    def owner_reference(self) -> dict[str, Any]:
        """The agent's Job, for the metadata of whatever is to go with it."""
        return self._agent.owner_reference

    async def start(self) -> None:
        """Start the first agent; raises as :meth:`Agent.start` does."""
        await self._agent.start(self._progress, self._timeout_seconds)

    async def ready(self) -> None:
        """The link is up: wait for what is beside the agent, as :meth:`Agent.ready` does."""
        await self._agent.ready(self._progress, self._timeout_seconds)

    async def join(self) -> None:
        """Use the agent of a Job that somebody else has made, and never delete that.

        Raises NotFound when there is no such Job, AgentError when it has no pod in time.
        """
        self._released = True
        await self._agent.rejoin(self._progress, self._timeout_seconds)

    async def settle(self) -> None:
        """The link is up: lift the Job's deadline, however long the API takes to hear it."""
        while True:
            try:
                await self._agent.settle()
            except (ConnectionFailed, ServerError, TooManyRequests, Unauthorized, ConfigError):
                await asyncio.sleep(SETTLE_SECONDS)
            except NotFound:
                return  # lost meanwhile: it will be replaced, and that one settled
            else:
                return

    async def connect(self, protocol_factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        """A transport to the agent, to a new one if need be."""
        async with self._turn:
            if self._suspect or self._witness.saw_end_of(self._agent.pod):
                await self._replace_if_lost()
        try:
            return await self._agent.connect(protocol_factory)
        except NotFound as error:
            self._suspect = True
            raise LinkLost(f"the agent's pod is gone: {error}") from error
        except ApiError:
            # The node may be dead, of which the API server tells nothing but this.
            self._suspect = True
            raise
        except PortForwardError:
            # It has just been started, or, if others use it as well, the last of them has left it.
            self._suspect = self._spec.shared
            raise

    def release(self) -> None:
        """Leave the Job to its agent, which ends by itself: not before nobody relies on it."""
        self._released = True

    def doubt(self) -> None:
        """The link was lost: look whether the pod is still there before it is used again."""
        self._suspect = True
        self._client.renew()
        self._witness.look_at(self._agent.pod)

    async def watch_over(self) -> None:
        """Learn, for as long as this runs, why agents have ended. Raises HopelessError."""
        if self._spec.relied_on:
            await self._agent.tell_restarts(self._note)
        await self._witness.run()

    async def _replace_if_lost(self) -> None:
        why = await first_answer(self._agent.why_lost)
        if why is not None and self._spec.relied_on:
            await self._rejoin()
        elif why is not None:
            self._note(await self._witness.testify(self._agent.pod) or why)
            await self._replace()
        self._suspect = False

    def _note(self, why: TowlineError) -> None:
        """Tell of an agent that was killed for its memory. Raises HopelessError if most are."""
        if not isinstance(why, OutOfMemoryError):
            return
        now = asyncio.get_running_loop().time()
        self._kills = [now, *(then for then in self._kills if now - then < KILLS_SECONDS)]
        if len(self._kills) >= MOST_KILLS:
            raise HopelessError(
                f"The agent was killed {MOST_KILLS} times within {KILLS_SECONDS / 60:.0f} minutes, "
                "as it used more memory than it may",
                why.hint,
            )
        self._on_killed(why)

    async def _rejoin(self) -> None:
        try:
            await self._agent.rejoin(self._progress, self._timeout_seconds)
        except NotFound:
            self.gone.set()
            raise

    async def _replace(self) -> None:
        self._lost.append(self._agent)
        spec = self._spec
        if not spec.shared:
            spec = replace(spec, name=new_name(spec.owner))
        self._agent = self._new_agent(spec)
        await self._clear_lost()
        try:
            await self._agent.start(self._progress, self._timeout_seconds)
        except OutOfMemoryError as error:
            self._note(error)
            raise
        await self.settle()

    async def _clear_lost(self) -> None:
        """Delete the Jobs of agents that were replaced: theirs is room in a quota, too.

        What cannot be deleted now has another turn with the next one, and at the end.
        """
        for agent in list(self._lost):
            with contextlib.suppress(TowlineError):
                if await agent.discard():
                    self._lost.remove(agent)

    def _new_agent(self, spec: AgentSpec) -> Agent:
        kind = SharedAgent if spec.shared else Agent
        return kind(self._client, self._namespace, spec)

    async def _stop_all(self) -> None:
        stopping = [_stop(agent) for agent in (self._agent, *self._lost)]
        for result in await asyncio.gather(*stopping, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result


async def _stop(agent: Agent) -> None:
    """Stop an agent, also one whose Job is only just being made."""
    for _ in range(UNSURE_TRIES):
        if await agent.stop():
            return
        await asyncio.sleep(UNSURE_RETRY_SECONDS)


async def first_answer(ask: Callable[[], Awaitable[A]]) -> A:
    """Ask, and ask anew while there is no answer; gives, or raises, the first that comes."""
    asked: list[asyncio.Task[A]] = []
    try:
        while True:
            asked.append(asyncio.ensure_future(ask()))
            done, _ = await asyncio.wait(
                asked, timeout=ASK_AGAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if done:
                return done.pop().result()
            for late in asked[: -MOST_QUESTIONS + 1]:
                late.cancel()
            asked = asked[-MOST_QUESTIONS + 1 :]
    finally:
        for question in asked:
            question.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
