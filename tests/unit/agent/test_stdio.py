"""An agent whose session is at the other end of its input and output."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.unit.agent.running import LONG_GRACE_SECONDS, SECONDS
from towline import __version__
from towline.cluster import bundle
from towline.relay.peer import Peer
from towline.wire.mux import Mux


@asynccontextmanager
async def guest() -> AsyncIterator[tuple[asyncio.subprocess.Process, Peer]]:
    """An agent as it runs in somebody's container, and a transport that has said hello."""
    command, archive = bundle.guest_command("--stdio", f"--grace-seconds={LONG_GRACE_SECONDS}")
    ours, its = socket.socketpair()
    ours.setblocking(False)
    with its:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command[1:], stdin=its, stdout=its, stderr=asyncio.subprocess.PIPE
        )
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(SECONDS):
            await loop.sock_sendall(ours, archive)
            _, peer = await loop.create_connection(lambda: Peer(Mux(client=True)), sock=ours)
            await peer.ready()
            yield process, peer
            peer.abort()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ended(process: asyncio.subprocess.Process) -> tuple[int, bytes]:
    """How it ended, and what it complained of."""
    assert process.stderr
    async with asyncio.timeout(SECONDS):
        return await process.wait(), await process.stderr.read()


async def test_says_hello_like_any_agent_and_is_the_first_to_go_when_memory_is_short() -> None:
    async with guest() as (process, peer):
        assert (await peer.ready()).properties["version"] == __version__
        expendable = Path(f"/proc/{process.pid}/oom_score_adj").read_text(encoding="ascii")
        assert expendable == "1000\n"


async def test_ends_with_its_input_however_long_it_would_wait() -> None:
    async with guest() as (process, peer):
        peer.abort()
        assert await ended(process) == (0, b"")


async def test_ends_by_the_sessions_goodbye() -> None:
    async with guest() as (process, peer):
        peer.go_away("the session ends")
        assert await ended(process) == (0, b"")


async def test_input_that_ends_before_the_agent_is_there_is_no_error() -> None:
    command, archive = bundle.guest_command("--stdio")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command[1:], stdin=pipe, stderr=pipe
    )
    async with asyncio.timeout(SECONDS):
        _, said = await process.communicate(archive[:100])
    assert (process.returncode, said) == (0, b"")
