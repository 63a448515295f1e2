"""A connection by exec: the command that it runs is real, only the cluster is played."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.fakes.apiserver import ApiServer
from tests.fakes.forwards import Recorder, pattern
from tests.fakes.kubelet import Exec, Running
from towline.kube.client import Client
from towline.kube.execforward import exec_forward
from towline.kube.streams import PortForwardError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Pod:
    """Runs what it is told to, on this machine; `code` is how it ended."""

    def __init__(self, commands: Exec) -> None:
        self.code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._commands = commands
        commands.run = self._run

    async def _run(self, running: Running) -> int:
        words = [word for name, word in self._commands.queries[-1] if name == "command"]
        assert words.pop(0) == "python3"
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdin=pipe, stdout=pipe, stderr=pipe
        )
        assert process.stdin
        assert process.stdout
        assert process.stderr
        try:
            async with asyncio.TaskGroup() as group:
                feeding = group.create_task(_feed(running, process.stdin))
                while data := await process.stdout.read(50_000):
                    await running.stdout.write(data)
                if said := await process.stderr.read():
                    await running.stderr.write(said)
                feeding.cancel()
        finally:
            # Also when the connection is cut, which cancels this: the input ends then.
            process.stdin.close()
            await process.communicate()
            self.code.set_result(process.returncode or 0)
        return self.code.result()


async def _feed(running: Running, stdin: asyncio.StreamWriter) -> None:
    while data := await running.stdin.read(50_000):
        stdin.write(data)
        await stdin.drain()
    stdin.close()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[Recorder, asyncio.Transport, Pod]]:
    async with ApiServer() as server, Client(server.access()) as client:
        pod = Pod(Exec(server, ["v5.channel.k8s.io"]))
        transport, protocol = await exec_forward(client, "dev", "web-0", "agent", port, Recorder)
        yield protocol, transport, pod


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """The port of a server that gives back what it gets, and has enough after `bye`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (data := await reader.read(50_000)) and data != b"bye":
            writer.write(data)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_data_passes_both_ways() -> None:
    data = pattern(1_000_000)
    async with echo() as port, connected(port) as (protocol, transport, _):
        transport.write(data)
        await protocol.until(size=len(data))
        assert protocol.data == data
        transport.close()
        assert await protocol.end() is None


async def test_command_ends_with_the_connection() -> None:
    async with echo() as port, connected(port) as (protocol, transport, pod):
        transport.write(b"x")
        await protocol.until(size=1)
        transport.abort()
        assert await asyncio.wait_for(pod.code, 10) == 0


async def test_end_of_the_other_side_is_an_orderly_end() -> None:
    async with echo() as port, connected(port) as (protocol, transport, _):
        transport.write(b"bye")
        assert await protocol.end() is None


async def test_port_that_nothing_listens_on_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with connected(port) as (protocol, _, _):
        error = await protocol.end()
        assert isinstance(error, PortForwardError)
        assert error.refused
