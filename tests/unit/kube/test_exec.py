from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.fakes.apiserver import ApiServer
from tests.fakes.kubelet import Exec, PortError, Running
from tests.fakes.switching import Asked, frame, serving
from towline.kube.client import Client
from towline.kube.errors import Forbidden
from towline.kube.exec import ExecError, Process, exec_

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
BINARY, CLOSE = 2, 8


@asynccontextmanager
async def pods(*subprotocols: str) -> AsyncIterator[tuple[Exec, Client]]:
    async with ApiServer() as server, Client(server.access()) as client:
        yield Exec(server, list(subprotocols or (V5, V4))), client


async def start(client: Client, *, stdin: bool = False, tty: bool = False) -> Process:
    return await exec_(client, "dev", "web-0", "main", ["sh", "-c"], stdin=stdin, tty=tty)


async def cat(running: Running) -> int:
    while data := await running.stdin.read(30_000):
        await running.stdout.write(data)
    return 0


@pytest.mark.parametrize(
    ("stdin", "tty", "flags"),
    [
        (False, False, {"stdin": "false", "stderr": "true", "tty": "false"}),
        (True, True, {"stdin": "true", "stderr": "false", "tty": "true"}),
    ],
)
async def test_request_is_that_of_the_api(stdin: bool, tty: bool, flags: dict[str, str]) -> None:
    async with pods() as (commands, client), await start(client, stdin=stdin, tty=tty) as process:
        assert await process.wait() == 0

    query = commands.queries[0]
    assert [value for name, value in query if name == "command"] == ["sh", "-c"]
    assert dict(query) == {"command": "-c", "container": "main", "stdout": "true", **flags}


async def test_input_comes_back_until_it_is_closed() -> None:
    data = bytes(range(256)) * 2000
    async with pods() as (commands, client):
        commands.run = cat
        async with await start(client, stdin=True) as process:
            process.write(data)
            process.close_stdin()

            assert await process.stdout.read() == data
            assert await process.stderr.read() == b""
            assert await process.wait() == 0


async def test_output_and_errors_are_kept_apart() -> None:
    async def speak(running: Running) -> int:
        await running.stdout.write(b"out\n")
        await running.stderr.write(b"err\n")
        await running.stdout.write(b"more\n")
        return 3

    async with pods() as (commands, client):
        commands.run = speak
        async with await start(client) as process:
            assert [line async for line in process.stdout] == [b"out\n", b"more\n"]
            assert await process.stderr.read() == b"err\n"
            assert await process.wait() == 3


async def test_command_that_cannot_be_started_is_an_error() -> None:
    async def fail(_: Running) -> int:
        raise PortError('exec: "sh": executable file not found in $PATH')

    async with pods() as (commands, client):
        commands.run = fail
        async with await start(client) as process:
            with pytest.raises(ExecError, match="executable file not found") as caught:
                await process.wait()

    assert "kubectl describe pod web-0 -n dev" in caught.value.hint


async def test_old_server_is_spoken_to_without_closing_stdin() -> None:
    async def first_line(running: Running) -> int:
        await running.stdout.write(await running.stdin.read_exactly(5))
        return 0

    async with pods(V4) as (commands, client):
        commands.run = first_line
        async with await start(client, stdin=True) as process:
            with pytest.raises(ExecError, match="cannot tell a command that its input has ended"):
                process.close_stdin()
            process.write(b"hello")
            assert await process.stdout.read() == b"hello"
            assert await process.wait() == 0


async def test_resize_goes_to_the_terminal() -> None:
    async def size(running: Running) -> int:
        await running.stdout.write(await running.sizes.read(100))
        return 0

    async with pods() as (commands, client):
        commands.run = size
        async with await start(client, tty=True) as process:
            process.resize(columns=80, rows=24)
            assert json.loads(await process.stdout.read()) == {"Width": 80, "Height": 24}


async def test_unread_output_holds_back_the_command() -> None:
    written = 0

    async def chatter(running: Running) -> int:
        nonlocal written
        for _ in range(300):
            await running.stdout.write(bytes(100_000))
            written += 100_000
        return 0

    async with pods() as (commands, client):
        commands.run = chatter
        async with await start(client) as process:
            await process.stdout.readexactly(1)
            for _ in range(50):
                await asyncio.sleep(0.002)
            assert written < 30_000_000

            assert len(await process.stdout.read()) == 30_000_000 - 1
            assert await process.wait() == 0


async def test_drain_waits_for_a_command_that_does_not_read() -> None:
    go_on = asyncio.Event()

    async def answer(asked: Asked) -> None:
        await asked.switch(Sec_WebSocket_Protocol=V5)
        await go_on.wait()
        await asked.read_until_close()

    async with serving(answer) as server, Client(server.access()) as client:
        process = await start(client, stdin=True)
        process.write(bytes(20_000_000))
        draining = asyncio.ensure_future(process.drain())
        await asyncio.sleep(0.02)
        assert not draining.done()
        go_on.set()
        async with asyncio.timeout(10):
            await draining
        await process.close()


async def test_lost_connection_ends_all_that_is_waited_for() -> None:
    async def answer(asked: Asked) -> None:
        await asked.switch(behind=frame(BINARY, b"\1partial"), Sec_WebSocket_Protocol=V5)

    async with serving(answer) as server, Client(server.access()) as client:
        process = await start(client, stdin=True)
        assert await process.stdout.read() == b"partial"
        assert await process.stderr.read() == b""
        with pytest.raises(ExecError, match="the connection was lost"):
            await process.wait()
        await process.drain()
        await process.close()


@pytest.mark.parametrize("status", [b"", b"nonsense", b"[]", b'{"status": "Failure"}'])
async def test_strange_status_is_an_error(status: bytes) -> None:
    async def answer(asked: Asked) -> None:
        message = frame(BINARY, b"\3" + status)
        await asked.switch(behind=message, Sec_WebSocket_Protocol=V5)
        await asked.read_until_close()

    async with serving(answer) as server, Client(server.access()) as client:
        process = await start(client)
        with pytest.raises(ExecError, match="the server did not say"):
            await process.wait()
        await process.close()


async def test_leaving_cuts_a_command_that_runs() -> None:
    async with pods() as (commands, client):
        commands.run = cat
        async with await start(client, stdin=True) as process:
            process.write(b"x")
            assert await process.stdout.readexactly(1) == b"x"

        with pytest.raises(ExecError, match="the connection was closed"):
            await process.wait()
        process.write(b"is dropped")


async def test_cancelling_the_close_cuts_at_once() -> None:
    async def answer(asked: Asked) -> None:
        await asked.switch(Sec_WebSocket_Protocol=V5)
        await asyncio.Event().wait()

    async with serving(answer) as server, Client(server.access()) as client:
        process = await start(client)
        closing = asyncio.ensure_future(process.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        with pytest.raises(ExecError, match="the connection was closed"):
            await process.wait()


async def test_missing_right_is_told_with_both_that_it_takes() -> None:
    message = 'pods "web-0" is forbidden: User "ann" cannot get resource "pods/exec"'

    async with ApiServer() as server, Client(server.access()) as client:
        server.fail(403, message=message)
        with pytest.raises(Forbidden) as caught:
            await start(client)

    assert "user ann may not get pods/exec in the namespace dev" in caught.value.summary
    assert "to get and to create pods/exec" in caught.value.hint
