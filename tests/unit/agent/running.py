"""The agent as a process of its own, and a session that speaks to it."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from towline.relay.peer import Peer
from towline.wire.frames import Buffer, Kind, Reason
from towline.wire.mux import Mux
from towline.wire.target import Target

SECONDS = 20.0  # until a test that hangs fails
LONG_GRACE_SECONDS = 600.0

_RUN = "import runpy; runpy.run_module('towline.agent', run_name='__main__', alter_sys=True)"


class Running:
    """An agent and the port that it listens on; `log` is what it has told once it has ended."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port
        self.log = ""

    async def connect(self, hello: Mapping[str, object] | None = None) -> Peer:
        """A transport to it that has said hello, as soon as it listens."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    _, peer = await loop.create_connection(
                        lambda: Peer(Mux(client=True, hello=hello)), "127.0.0.1", self.port
                    )
                    break
                except ConnectionRefusedError:
                    assert self.process.returncode is None
                    await asyncio.sleep(0.01)
            await peer.ready()
            return peer

    async def ended(self, complaint: str | None = "") -> int:
        """Its exit code, when it has ended; it has nothing else to complain of (None: whatever)."""
        async with asyncio.timeout(SECONDS):
            _, said = await self.process.communicate()
        self.log = said.decode()
        complaints = [
            line for line in self.log.splitlines() if not line.startswith("towline: the session")
        ]
        if complaint is not None:
            assert complaint in "\n".join(complaints)
            assert complaint or complaints == []
        code = self.process.returncode
        assert code is not None
        return code


@asynccontextmanager
async def agent(
    grace_seconds: float,
    before: str = "",
    options: Sequence[str] = (),
    *,
    first_seconds: float = 0,
) -> AsyncIterator[Running]:
    """A running agent, before whose start the statements `before` are executed in its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    waiting = [f"--grace-seconds={grace_seconds}", f"--first-seconds={first_seconds}"]
    arguments = [f"--port={port}", *waiting, *options]
    how = ["-c", f"{before}\n{_RUN}"] if before else ["-m", "towline.agent"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *how, *arguments, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield Running(process, port)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


class Conversation:
    """A TCP stream through the agent, and what it tells."""

    def __init__(self, peer: Peer, port: int) -> None:
        self._news: asyncio.Queue[str | bytes | Reason] = asyncio.Queue()
        self.stream = peer.open(Kind.TCP, Target("127.0.0.1", port).encode(), self)

    async def news(self) -> str | bytes | Reason:
        """The next thing it tells."""
        async with asyncio.timeout(SECONDS):
            return await self._news.get()

    def accepted(self) -> None:
        self._news.put_nowait("accepted")

    def data(self, data: Buffer) -> None:
        self.stream.consumed(len(data))
        self._news.put_nowait(bytes(data))

    def eof(self) -> None:
        self._news.put_nowait("eof")

    def reset(self, reason: Reason) -> None:
        self._news.put_nowait(reason)

    def credit(self) -> None:
        """There is always enough."""
