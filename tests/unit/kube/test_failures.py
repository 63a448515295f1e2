from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.fakes.apiserver import ApiServer
from towline.kube.call import Call, Patience
from towline.kube.config import Access
from towline.kube.errors import ConnectionFailed
from towline.kube.transport import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ONCE = Patience(attempts=1, connect_timeout=0.2, request_timeout=2)


def access(server: str, proxy: str = "") -> Access:
    return Access(
        server=server, namespace="default", context="dev", source="/k/config", proxy=proxy
    )


async def failure(
    to: Access, environ: dict[str, str] | None = None, patience: Patience = ONCE
) -> ConnectionFailed:
    """How a request fails."""
    transport = Transport(to, patience, environ=environ or {})
    try:
        with pytest.raises(ConnectionFailed) as caught:
            await transport.read(Call("GET", "/version"))
    finally:
        await transport.close()
    return caught.value


async def test_a_name_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    # The resolver of the machine that runs the tests is not to be asked.
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", unknown)
    monkeypatch.setattr("aiohttp.connector.DefaultResolver", aiohttp.ThreadedResolver)

    error = await failure(access("https://k.invalid:6443"))

    assert error.summary == (
        "The name of the API server k.invalid:6443 of the context dev is not known"
    )
    assert "the context dev in /k/config" in error.hint
    assert (error.transient, error.sent) == (False, False)


async def test_a_refused_connection() -> None:
    error = await failure(access("http://127.0.0.1:1"))

    assert "127.0.0.1:1 of the context dev (connection refused)" in error.summary
    assert (error.transient, error.sent) == (True, False)


@pytest.mark.parametrize(
    ("found", "summary", "transient"),
    [
        (
            OSError("Multiple exceptions: [Errno 101] Connect call a, [Errno 113] Connect call b"),
            "of the context dev: Network is unreachable; No route to host",
            True,
        ),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call a, [Errno 101] Connect call b"),
            "k.test:6443 of the context dev (connection refused)",
            True,
        ),
        (OSError(errno.EACCES, "Connect call failed"), "Permission denied", False),
        (OSError("no matching local address"), "no matching local address", False),
    ],
)
async def test_no_way_by_any_of_the_addresses(
    monkeypatch: pytest.MonkeyPatch, found: OSError, summary: str, *, transient: bool
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise found

    async def resolve(*_: object, **__: object) -> list[dict[str, object]]:
        return [
            {
                "hostname": "k.test",
                "host": "192.0.2.1",
                "port": 6443,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
        ]

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", fail)
    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    monkeypatch.setattr("aiohttp.connector.DefaultResolver", aiohttp.ThreadedResolver)

    error = await failure(access("https://k.test:6443"))

    assert summary in error.summary
    assert (error.transient, error.sent) == (transient, False)


@asynccontextmanager
async def listening(answer: bytes | None) -> AsyncIterator[str]:
    """A TCP server that gives one answer to whatever comes, or just hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if answer is not None:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_connection_that_ends_without_an_answer() -> None:
    async with listening(None) as address:
        error = await failure(access(f"http://{address}"))

    assert "ended the connection without an answer" in error.summary
    assert (error.transient, error.sent) == (True, True)


async def test_something_that_does_not_speak_http() -> None:
    async with listening(b"SSH-2.0-OpenSSH_9.2\r\n") as address:
        error = await failure(access(f"http://{address}"))

    assert error.sent


async def test_a_listener_that_never_takes_the_connection() -> None:
    with socket.socket() as full:
        # With a backlog of none, further SYNs are dropped once one connection waits.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        error = await failure(access(f"http://127.0.0.1:{full.getsockname()[1]}"))
        for one in waiting:
            one.close()

    assert "no answer to the attempt to connect" in error.summary
    assert "firewall" in error.hint
    assert not error.sent


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "it wants a user and password"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "it answered 403 Forbidden"),
    ],
)
async def test_a_proxy_that_does_not_let_through(answer: bytes, reason: str) -> None:
    async with listening(answer) as address:
        error = await failure(access("https://k.test:6443", proxy=f"http://me:pw@{address}"))

    assert error.summary == (
        f"The proxy http://{address} does not lead to the API server k.test:6443 of the context "
        f"dev: {reason}"
    )
    assert "proxy-url" in error.hint
    assert not error.sent


async def test_a_proxy_that_is_not_there_is_named() -> None:
    environ = {"HTTP_PROXY": "http://127.0.0.1:1"}

    error = await failure(access("http://k.test"), environ)

    assert "The proxy http://127.0.0.1:1 does not lead to" in error.summary
    assert "it cannot be reached" in error.summary


async def test_a_proxy_leads_to_the_server() -> None:
    async with ApiServer() as server:
        # Asked as a proxy, for another host, it answers itself.
        to = replace(server.access(), server="http://k.test", proxy=server.url)
        transport = Transport(to, ONCE, environ={})
        assert b"gitVersion" in await transport.read(Call("GET", "/version"))
        await transport.close()

        assert server.requests[-1].headers["Host"] == "k.test"
