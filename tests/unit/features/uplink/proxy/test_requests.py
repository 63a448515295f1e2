"""Clients of the proxy that speak HTTP, with targets behind a real link and agent, and here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.unit.features.uplink.proxy.test_conversation import (
    HERE,
    INSIDE,
    OUTSIDE,
    ask,
    closed_port,
    proxy,
    serving,
)

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
either_way = pytest.mark.parametrize("host", [INSIDE, OUTSIDE])
SECONDS = 10


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[int]:
    """A target, which closes each connection when it has answered."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, HERE, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def path_and_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with what was asked, in two chunks."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((line for line in head.split(b"\r\n") if b"Content-Length" in line), b":0")
    body = await reader.readexactly(int(length.partition(b":")[2]))
    path = head.split()[1]
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for each in (path, body):
        writer.write(b"%x\r\n%s\r\n" % (len(each), each) if each else b"")
    writer.write(b"0\r\n\r\n")


def get(host: str, port: int, path: str = "/", more: str = "", body: str = "") -> bytes:
    return f"GET http://{host}:{port}{path} HTTP/1.1\r\nHost: x\r\n{more}\r\n{body}".encode()


@either_way
async def test_tunnel_of_http(host: str) -> None:
    async with proxy() as (port, _), serving() as there:
        answer = await ask(port, f"CONNECT {host}:{there} HTTP/1.0\r\n\r\nhello".encode())
        assert answer == b"HTTP/1.1 200 Connection established\r\n\r\nall: hello"


@either_way
async def test_tunnel_behind_requests(host: str) -> None:
    async with proxy() as (port, _), answering(path_and_body) as web, serving() as there:
        tunnel = f"CONNECT {host}:{there} HTTP/1.1\r\nHost: x\r\n\r\nhello".encode()
        answer = await ask(port, get(host, web), tunnel)
        assert answer.endswith(b"HTTP/1.1 200 Connection established\r\n\r\nall: hello")


async def test_requests_to_several_targets_follow_each_other_on_one_connection() -> None:
    async with (
        proxy() as (port, _),
        answering(path_and_body) as one,
        answering(path_and_body) as other,
    ):
        answer = await ask(
            port,
            get(INSIDE, one, "/first", "Content-Length: 5\r\n", "hello"),
            get(OUTSIDE, other, "/second"),
            get(INSIDE, other, "/third", "Connection: close\r\n"),
            get(INSIDE, other, "/never"),
        )
        assert answer.count(b"HTTP/1.1 200 OK\r\n") == 3
        parts = [answer.index(each) for each in (b"/first\r\n5\r\nhello", b"/second", b"/third")]
        assert parts == sorted(parts)
        assert b"/never" not in answer


@either_way
async def test_large_bodies_go_either_way(host: str) -> None:
    words = "x" * (1 << 20)
    async with proxy() as (port, _), answering(path_and_body) as there:
        more = f"Content-Length: {len(words)}\r\n"
        answer = await ask(port, get(host, there, "/", more, words))
        assert answer.count(b"x") == len(words)
        assert answer.endswith(b"\r\n0\r\n\r\n")


@either_way
async def test_client_that_waits_for_leave_is_given_it(host: str) -> None:
    async def give_leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(5)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

    async with proxy() as (port, _), answering(give_leave) as there:
        reader, writer = await asyncio.open_connection(HERE, port)
        writer.write(get(host, there, "/", "Content-Length: 5\r\nExpect: 100-continue\r\n"))
        leave = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SECONDS)
        assert leave.startswith(b"HTTP/1.1 100 ")
        writer.write(b"hello")
        assert (await asyncio.wait_for(reader.readuntil(b"hello"), SECONDS)).startswith(
            b"HTTP/1.1 200 "
        )
        writer.close()


@either_way
async def test_client_that_is_refused_leave_is_told_and_let_go(host: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")

    async with proxy() as (port, _), answering(refuse) as there:
        reader, writer = await asyncio.open_connection(HERE, port)
        writer.write(get(host, there, "/", "Content-Length: 5\r\nExpect: 100-continue\r\n"))
        answer = await asyncio.wait_for(reader.read(), SECONDS)
        assert answer.startswith(b"HTTP/1.1 417 ")
        writer.close()


@either_way
async def test_protocol_is_changed_for_both_and_half_close_is_kept(host: str) -> None:
    async def change(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nfirst ")
        writer.write(b"all: " + await reader.read())

    async with proxy() as (port, _), answering(change) as there:
        upgrade = "Connection: Upgrade\r\nUpgrade: echo\r\n"
        answer = await ask(port, get(host, there, "/", upgrade, "hello"), b", world")
        assert answer.startswith(b"HTTP/1.1 101 Yes\r\n")
        assert answer.endswith(b"\r\n\r\nfirst all: hello, world")


@either_way
async def test_target_that_is_not_there_is_told(host: str) -> None:
    async with proxy() as (port, _):
        answer = await ask(port, get(host, closed_port()))
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert b"it is refused there" in answer


async def test_question_to_the_proxy_itself_is_answered_by_it() -> None:
    async with proxy() as (port, _):
        asks = f"OPTIONS http://{INSIDE}:{closed_port()}/ HTTP/1.1\r\nHost: x\r\n"
        answer = await ask(port, f"{asks}Max-Forwards: 0\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{closed}/", "https://web/"])
async def test_refusal_of_a_question_for_the_head_has_no_body(url: str) -> None:
    async with proxy() as (port, _):
        asks = f"HEAD {url.format(closed=closed_port())} HTTP/1.1\r\nHost: x\r\n\r\n"
        head, end, body = (await ask(port, asks.encode())).partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 502 ", b"HTTP/1.1 400 "))
        assert b"\r\nContent-Length: " in head
        assert (end, body) == (b"\r\n\r\n", b"")


@either_way
async def test_target_that_speaks_something_else_is_told(host: str) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")

    async with proxy() as (port, _), answering(speak) as there:
        assert (await ask(port, get(host, there))).startswith(b"HTTP/1.1 502 ")


@either_way
async def test_answer_that_is_cut_off_is_not_taken_for_whole(host: str) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")

    async with proxy() as (port, _), answering(cut) as there:
        with pytest.raises(ConnectionResetError):
            await ask(port, get(host, there))


@either_way
async def test_target_is_let_go_when_its_client_is_gone(host: str) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        gone.set()

    async with proxy() as (port, _), answering(wait) as there:
        _, writer = await asyncio.open_connection(HERE, port)
        writer.write(get(host, there))
        await asyncio.wait_for(asked.wait(), SECONDS)
        writer.transport.abort()
        await asyncio.wait_for(gone.wait(), SECONDS)


@either_way
async def test_target_is_let_go_in_order_when_it_has_answered(host: str) -> None:
    ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 Done\r\n\r\n")
        ended.set_result(await reader.read())

    async with proxy() as (port, _), answering(answer) as there:
        reader, writer = await asyncio.open_connection(HERE, port)
        writer.write(get(host, there))
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SECONDS)).startswith(
            b"HTTP/1.1 204 "
        )
        assert await asyncio.wait_for(ended, SECONDS) == b"", "a reset would be an error"
        writer.close()
