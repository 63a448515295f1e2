"""The agent's life: it listens for its client, serves its streams, and ends when it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from towline import __version__
from towline.agent import pod, stdio
from towline.agent.apiserver import ApiServer
from towline.agent.association import Association, Udp
from towline.agent.dial import Dial
from towline.agent.echo import Echo
from towline.agent.intercept import Intercepted, Interception, Redirecting
from towline.agent.resolve import resolve
from towline.agent.router import Router
from towline.agent.routing import Routing
from towline.agent.telling import AWAY, BACK, GONE, tell
from towline.agent.undoing import Changed, undo_until_done
from towline.agent.users import User, Users
from towline.relay.peer import DEAD_SECONDS, PING_SECONDS, Peer
from towline.relay.request import Message
from towline.relay.splice import Splice
from towline.relay.stream import Stream
from towline.wire.budget import Budget
from towline.wire.frames import Kind, Reason
from towline.wire.mux import Mux


class _Keepalive(NamedTuple):
    ping_seconds: float = PING_SECONDS
    dead_seconds: float = DEAD_SECONDS


# A session that has fallen silent must soon get no connections any more.
_INTERCEPTING = _Keepalive(2.0, 6.0)

# A session hears of the pod by the API, and then makes its way here: on a busy cluster that may
# take longer than one that was here already is to be waited for.
FIRST_SECONDS = 10.0

# What a pod that is ended has left, of the 5 s until it is killed.
TERMINATION_SECONDS = 4.0


class Draining(NamedTuple):
    """How an agent ends whose ports have originals: `quiet_seconds` after the last connection.

    What is passed by may finish, but the end comes after `longest_seconds` at the latest.
    """

    quiet_seconds: float = 2.0
    longest_seconds: float = 30.0


DRAINING = Draining()


class Routed(NamedTuple):
    """That a router stands before some of the ports: its folder, and its first files by name."""

    folder: Path
    files: Mapping[str, str]


async def serve(  # noqa: PLR0913 (as many as an agent may be told)
    port: int | None,
    grace_seconds: float,
    intercepted: Sequence[Intercepted] = (),
    changed: Changed | None = None,
    draining: Draining = DRAINING,
    redirecting: Redirecting | None = None,
    routed: Routed | None = None,
    *,
    first_seconds: float = FIRST_SECONDS,
    shared: bool = False,
) -> int:
    """Serve one session on 127.0.0.1:`port` until it is over, and intercept ports meanwhile.

    With `shared` it serves any number of them, each for itself, until the last one is over.
    Without a port it is served by input and output, and over when these have ended.
    When the session has been gone for `grace_seconds`, `changed` is undone before the agent ends;
    the first one is waited for at least `first_seconds`.
    With `redirecting`, the ports are others' and redirected; `routed` says that there is a router.
    Raises OSError when the ports, or their redirect, cannot be had.

    Returns the exit code: 0 when the session is over, else, the pod being ended although it is
    not, one that makes a Job on which others rely replace it.

    Whoever may forward a port to this pod may use the agent: that right of the Kubernetes API
    is the authentication, and nobody outside the pod reaches its loopback.
    """
    _raise_descriptor_limit()
    agent = Agent(
        grace_seconds,
        intercepted,
        changed,
        redirecting,
        routed,
        first_seconds=first_seconds,
        shared=shared,
    )
    _end_by_signals(agent)
    try:
        # Either starts the agent first: a session that is answered may rely on what comes to the
        # ports coming here.
        async with _by_stdio(agent) if port is None else _on_loopback(agent, port):
            code = await agent.over()
        await agent.drain(draining)
        return code
    finally:
        await agent.close()


def _end_by_signals(agent: Agent) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.terminate, 128 + number)


@contextlib.asynccontextmanager
async def _by_stdio(agent: Agent) -> AsyncIterator[None]:
    """Start the agent, and let the session in by input and output."""
    await agent.start()
    await stdio.connect(agent.accept, agent.end)
    yield


@contextlib.asynccontextmanager
async def _on_loopback(agent: Agent, port: int) -> AsyncIterator[None]:
    """Start the agent, and let the session in at a port of loopback."""
    server = await asyncio.get_running_loop().create_server(
        agent.accept, "127.0.0.1", port, backlog=16, start_serving=False
    )
    try:
        await agent.start()
        await server.start_serving()
        yield
    finally:
        server.close()


def _raise_descriptor_limit() -> None:
    """Every dial takes a descriptor; the soft limit is 1024 on many nodes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # a sandbox may have its own mind
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Agent:
    """What one session has in this pod, or several: transports and the dials under way."""

    def __init__(
        self,
        grace_seconds: float,
        intercepted: Sequence[Intercepted] = (),
        changed: Changed | None = None,
        redirecting: Redirecting | None = None,
        routed: Routed | None = None,
        *,
        first_seconds: float = FIRST_SECONDS,
        shared: bool = False,
    ) -> None:
        first_seconds = max(first_seconds, grace_seconds)
        self.interception = Interception(intercepted, self._run, redirecting)
        self._user = User(self.accept)  # the session, unless there are several
        self._users = Users(self.accept, self.end, grace_seconds, first_seconds) if shared else None
        self._budget = Budget()
        self._routed = routed
        self._routing: Routing | None = None
        self._changed = changed
        self._undoing: asyncio.Task[None] | None = None
        self._away = False
        self._keepalive = _INTERCEPTING if intercepted or routed else _Keepalive()
        self._grace_seconds = grace_seconds
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[int] = self._loop.create_future()
        self._peers: list[Peer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._expired = asyncio.Event()
        self._alone = self._loop.call_later(first_seconds, self._left)
        if shared:
            self._alone.cancel()

    async def start(self) -> None:
        """Listen on the ports. Raises OSError when one, or their redirect, cannot be had."""
        await self.interception.start()
        if self._routed is not None:
            slots = self.interception.slots
            slots.wanted = True
            self._routing = Routing(Router(self._routed.folder), slots)
            await self._routing.start(self._routed.files)

    def accept(self) -> Peer:
        """The protocol for a new transport of the session."""
        peer = Peer(
            Mux(
                client=False,
                hello={"version": __version__, **pod.facts()},
                budget=self._users.budget() if self._users else self._budget,
            ),
            on_hello=lambda hello: self._users.greet(peer, hello) if self._users else None,
            on_opened=lambda *opened: self._on_opened(peer, *opened),
            on_goaway=lambda _: self._goodbye(peer),
            on_lost=lambda _: self._on_lost(peer),
            **self._keepalive._asdict(),
        )
        self._peers.append(peer)
        self._alone.cancel()
        if self._undoing is not None:
            self._undoing.cancel()
            self._undoing = None
        if self._away:
            self._away = False
            tell(BACK)
        return peer

    def end(self, code: int = 0) -> None:
        """The session is over, or this pod is, with an exit code that says so."""
        if not self._over.done():
            self._over.set_result(code)

    def terminate(self, code: int) -> None:
        """This pod is ended, and will be killed soon."""
        self.end(code)
        self._loop.call_later(TERMINATION_SECONDS, self._expired.set)

    async def over(self) -> int:
        """Wait until the session says so, or has had no transport for the grace time."""
        return await self._over

    async def drain(self, draining: Draining) -> None:
        """Let the originals have what comes, until it is quiet; transports may go on meanwhile.

        Others take a moment to hear that this pod's ports are no service's any more.
        """
        if not self.interception.passes and self._routing is None:
            return
        self.interception.release()
        self._loop.call_later(draining.longest_seconds, self._expired.set)
        quiet = self._run(self._quiet(draining.quiet_seconds))
        expired = asyncio.ensure_future(self._expired.wait())
        await asyncio.wait({quiet, expired}, return_when=asyncio.FIRST_COMPLETED)
        expired.cancel()
        if self._routing is not None:
            await self._routing.router.quit()

    async def _quiet(self, seconds: float) -> None:
        """Wait until nobody comes any more, to the router or to the ports."""
        if self._routing is not None:
            await self._routing.router.drain(seconds)
        await self.interception.underway.quiet(seconds)

    async def close(self) -> None:
        """Drop the transports and end what still runs for them."""
        self._user.direct.close()
        if self._users is not None:
            self._users.close()
        for peer in list(self._peers):
            peer.close()
        self.interception.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _goodbye(self, peer: Peer) -> None:
        """A session is over. What it has not accepted, and datagrams, are not for it any more.

        That its transport is closed may be heard a second later.
        """
        for stream in list(peer.streams.values()):
            handler = stream.handler
            if handler is not None and not stream.incoming and not isinstance(handler, Splice):
                stream.reset(Reason.GOING_AWAY)
                handler.reset(Reason.GOING_AWAY)
        if self._users is None:
            self.end()
        else:
            self._users.leave(peer)

    def _on_lost(self, peer: Peer) -> None:
        self._peers.remove(peer)
        if self._users is not None:
            self._users.lost(peer)
        elif not self._peers:
            # A transport that fell silent was given up late: the client is gone since then.
            self._alone = self._loop.call_at(peer.last_heard + self._grace_seconds, self._left)
            self._tell_absence(AWAY)

    def _left(self) -> None:
        """The session is gone for good, as far as can be told."""
        if self._changed is None:
            self.end()
        elif not self._over.done():
            self._tell_absence(GONE)
            self._undoing = self._run(self._undo(self._changed))

    def _tell_absence(self, line: str) -> None:
        """Tell of it, unless the session has said goodbye, or is over in another way."""
        if not self._over.done():
            self._away = True
            tell(line)

    async def _undo(self, changed: Changed) -> None:
        await undo_until_done(changed, ApiServer())
        self.end()

    def _on_opened(self, peer: Peer, stream: Stream, kind: Kind, target: bytes) -> None:
        user = self._users.of(peer) if self._users else self._user
        if kind == Kind.TCP:
            self._run(Dial(stream, target, user.stalled).run())
        elif kind == Kind.RESOLVE:
            self._run(resolve(stream, Message(stream)))
        elif kind == Kind.CLAIM:
            self.interception.claim(peer, stream, target)
        elif kind == Kind.UDP:
            Association(stream, Udp(), self._run, user.waiting)
        elif kind == Kind.ECHO:
            Association(stream, Echo(), self._run, user.waiting)
        elif kind == Kind.DIRECT:
            self._run(user.direct.serve(stream, Message(stream)))
        elif kind == Kind.USERS and self._users is not None:
            self._run(self._users.serve(peer, stream, Message(stream)))
        elif kind == Kind.ROUTE and self._routing is not None:
            self._run(self._routing.serve(stream, Message(stream)))
        else:
            stream.reset(Reason.UNSUPPORTED)

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
