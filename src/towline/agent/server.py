"""The agent's life: it listens for its client, serves its streams, and ends when it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
from collections.abc import Awaitable, Sequence
from typing import NamedTuple

from towline import __version__
from towline.agent import pod
from towline.agent.dial import Dial
from towline.agent.intercept import Intercepted, Interception
from towline.agent.resolve import resolve
from towline.relay.peer import DEAD_SECONDS, PING_SECONDS, Peer
from towline.relay.request import Message
from towline.relay.stream import Stream
from towline.wire.frames import Kind, Reason
from towline.wire.mux import Mux


class _Keepalive(NamedTuple):
    ping_seconds: float = PING_SECONDS
    dead_seconds: float = DEAD_SECONDS


# A session that has fallen silent must soon get no connections any more.
_INTERCEPTING = _Keepalive(2.0, 6.0)


async def serve(port: int, grace_seconds: float, intercepted: Sequence[Intercepted] = ()) -> int:
    """Serve one session on 127.0.0.1:`port` until it is over, and intercept ports meanwhile.

    Returns the exit code: 0 when the session is over, else, the pod being ended although it is
    not, one that makes a Job on which others rely replace it.

    Whoever may forward a port to this pod may use the agent: that right of the Kubernetes API
    is the authentication, and nobody outside the pod reaches its loopback.
    """
    _raise_descriptor_limit()
    loop = asyncio.get_running_loop()
    agent = Agent(grace_seconds, intercepted)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.end, 128 + number)
    server = await loop.create_server(agent.accept, "127.0.0.1", port, backlog=16)
    try:
        await agent.interception.start()
        return await agent.over()
    finally:
        server.close()
        await agent.close()


def _raise_descriptor_limit() -> None:
    """Every dial takes a descriptor; the soft limit is 1024 on many nodes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # a sandbox may have its own mind
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Agent:
    """What one session has in this pod: its transports and the dials under way."""

    def __init__(self, grace_seconds: float, intercepted: Sequence[Intercepted] = ()) -> None:
        self.interception = Interception(intercepted, self._run)
        self._keepalive = _INTERCEPTING if intercepted else _Keepalive()
        self._grace_seconds = grace_seconds
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[int] = self._loop.create_future()
        self._peers: list[Peer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._alone = self._loop.call_later(grace_seconds, self.end)

    def accept(self) -> Peer:
        """The protocol for a new transport of the session."""
        peer = Peer(
            Mux(client=False, hello={"version": __version__, **pod.facts()}),
            on_opened=lambda *opened: self._on_opened(peer, *opened),
            on_goaway=lambda _: self.end(),
            on_lost=lambda _: self._on_lost(peer),
            **self._keepalive._asdict(),
        )
        self._peers.append(peer)
        self._alone.cancel()
        return peer

    def end(self, code: int = 0) -> None:
        """The session is over, or this pod is, with an exit code that says so."""
        if not self._over.done():
            self._over.set_result(code)

    async def over(self) -> int:
        """Wait until the session says so, or has had no transport for the grace time."""
        return await self._over

    async def close(self) -> None:
        """Drop the transports and end what still runs for them."""
        for peer in list(self._peers):
            peer.close()
        self.interception.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_lost(self, peer: Peer) -> None:
        self._peers.remove(peer)
        if not self._peers:
            # A transport that fell silent was given up late: the client is gone since then.
            self._alone = self._loop.call_at(peer.last_heard + self._grace_seconds, self.end)

    def _on_opened(self, peer: Peer, stream: Stream, kind: Kind, target: bytes) -> None:
        if kind == Kind.TCP:
            self._run(Dial(stream, target).run())
        elif kind == Kind.RESOLVE:
            self._run(resolve(stream, Message(stream)))
        elif kind == Kind.CLAIM:
            self.interception.claim(peer, stream, target)
        else:
            stream.reset(Reason.UNSUPPORTED)

    def _run(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
