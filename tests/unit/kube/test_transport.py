from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.fakes.apiserver import ApiServer
from tests.fakes.switching import Asked, serving
from towline.errors import ConfigError
from towline.kube.call import Call, Patience
from towline.kube.config import Access, ExecPlugin, Tls, User
from towline.kube.errors import (
    ConnectionFailed,
    Forbidden,
    Invalid,
    ServerError,
    TooManyRequests,
    Unauthorized,
)
from towline.kube.resources import CONFIG_MAPS, NAMESPACES, PODS
from towline.kube.transport import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

QUICK = Patience(attempts=3, first_wait=0.001, longest_wait=0.001)
GET = Call("GET", NAMESPACES.path(name="default"))
CREATE = Call(
    "POST", CONFIG_MAPS.path("default"), body=json.dumps({"metadata": {"name": "a"}}).encode()
)


@asynccontextmanager
async def sending(access: Access, patience: Patience = QUICK) -> AsyncIterator[Transport]:
    transport = Transport(access, patience, environ={})
    try:
        yield transport
    finally:
        await transport.close()


async def read(access: Access, call: Call, patience: Patience = QUICK) -> int:
    """Send a call and give how many requests that took."""
    async with sending(access, patience) as transport:
        await transport.read(call)
    return transport.request_count


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
async def test_a_get_is_repeated_while_the_server_fails(code: int) -> None:
    async with ApiServer() as server:
        server.fail(code, times=2)

        assert await read(server.access(), GET) == 3


async def test_a_get_is_given_up_after_the_last_attempt() -> None:
    async with ApiServer() as server:
        server.fail(503, times=9)

        with pytest.raises(ServerError):
            await read(server.access(), GET)

        assert len(server.requests) == 3


async def test_a_get_is_repeated_when_the_connection_is_cut() -> None:
    async with ApiServer() as server:
        server.hang_up(times=1)

        await read(server.access(), GET)

        assert server.requests[-1].path == GET.path


@pytest.mark.parametrize("code", [500, 503, 504])
async def test_a_create_is_not_repeated_when_the_server_fails(code: int) -> None:
    async with ApiServer() as server:
        server.fail(code)

        with pytest.raises(ServerError):
            await read(server.access(), CREATE)

        assert len(server.requests) == 1


async def test_a_create_is_not_repeated_when_the_connection_is_cut() -> None:
    async with ApiServer() as server:
        server.hang_up()

        with pytest.raises(ConnectionFailed) as caught:
            await read(server.access(), CREATE)

        assert len(server.requests) == 1
        assert caught.value.sent


async def test_a_create_that_is_asked_to_come_back_later_does() -> None:
    async with ApiServer() as server:
        server.fail(429, headers={"Retry-After": "0.01"})

        assert await read(server.access(), CREATE) == 2


async def test_a_create_turned_away_without_a_time_is_not_repeated() -> None:
    async with ApiServer() as server:
        server.fail(429)

        with pytest.raises(TooManyRequests):
            await read(server.access(), CREATE)


async def test_a_wait_that_is_too_long_to_be_asked_is_not_waited() -> None:
    async with ApiServer() as server:
        server.fail(429, headers={"Retry-After": "3600"})

        with pytest.raises(TooManyRequests):
            await read(server.access(), GET)


async def test_what_the_server_calls_wrong_is_not_repeated() -> None:
    async with ApiServer() as server:
        server.fail(422)

        with pytest.raises(Invalid):
            await read(server.access(), GET)

        assert len(server.requests) == 1


async def test_a_server_that_does_not_answer_in_time_is_a_failed_connection() -> None:
    async with ApiServer() as server:

        async def hang(request: web.Request) -> web.StreamResponse | None:
            await asyncio.Event().wait()
            return None

        server.faults.append(hang)

        with pytest.raises(ConnectionFailed) as caught:
            await read(server.access(), GET, Patience(attempts=1, request_timeout=0.05))

        assert "took too long" in caught.value.summary


async def test_a_refused_connection_is_tried_again_even_for_a_create() -> None:
    access = Access(server="http://127.0.0.1:1", namespace="", context="c", source="file")
    async with sending(access) as transport:
        with pytest.raises(ConnectionFailed) as caught:
            await transport.read(CREATE)

    assert transport.request_count == 3
    assert not caught.value.sent
    assert "connection refused" in caught.value.summary
    assert "the context c in file" in caught.value.hint


async def test_a_redirect_is_not_followed_with_the_credentials() -> None:
    async with ApiServer() as server:
        server.fail(302, headers={"Location": "https://login.example/"})

        with pytest.raises(ServerError) as caught:
            await read(server.access(), GET, Patience(attempts=1))

        assert "redirects elsewhere" in caught.value.summary


async def test_a_stream_gives_pieces_as_they_come_and_ends_when_left() -> None:
    more = asyncio.Event()
    async with ApiServer() as server:

        async def serve(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"first")
            await more.wait()
            await response.write(b"second")
            await asyncio.Event().wait()
            return response

        server.faults.append(serve)
        async with sending(server.access()) as transport:
            call = Call("GET", "/version", read_timeout=5)
            async with transport.stream(call) as pieces:
                assert await anext(pieces) == b"first"
                more.set()
                assert await anext(pieces) == b"second"


async def test_a_stream_that_is_cut_raises_connection_failed() -> None:
    async with ApiServer() as server:

        async def serve(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"first")
            assert request.transport
            request.transport.abort()
            return response

        server.faults.append(serve)
        async with sending(server.access()) as transport:
            received: list[bytes] = []

            async def receive() -> None:
                async with transport.stream(Call("GET", "/version", read_timeout=5)) as pieces:
                    async for piece in pieces:
                        received.append(piece)  # noqa: PERF401

            with pytest.raises(ConnectionFailed) as caught:
                await receive()

    assert received in ([], [b"first"])
    assert caught.value.transient


async def websocket(request: web.Request) -> web.StreamResponse:
    """A port-forward that says where it was reached."""
    response = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
    await response.prepare(request)
    await response.send_bytes(request.path_qs.encode())
    await response.receive()
    return response


FORWARD = PODS.path("default", "a", "portforward")


async def test_an_upgrade_goes_to_the_path_behind_the_prefix() -> None:
    async with ApiServer(prefix="/k8s/c-1") as server:
        server.handlers["pods", "portforward"] = websocket
        async with sending(server.access()) as transport:
            upgraded = await transport.upgrade(FORWARD, [("ports", "80")], ["v4.channel.k8s.io"])
            upgraded.transport.abort()

        assert upgraded.subprotocol == "v4.channel.k8s.io"
        assert server.requests[0].path == f"/k8s/c-1{FORWARD}"
        assert server.requests[0].query == {"ports": "80"}
        assert transport.request_count == 1


async def test_an_upgrade_goes_by_no_connection_that_was_kept_and_may_be_dead() -> None:
    """Here one that has answered once does not answer again."""

    async def answer(asked: Asked) -> None:
        if asked.header("Upgrade"):
            await asked.switch()
        else:
            await asked.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await asked.reader.read()
        await asyncio.Event().wait()

    async with serving(answer) as server, sending(server.access()) as transport:
        await transport.read(GET)
        async with asyncio.timeout(10):
            upgraded = await transport.upgrade(FORWARD, [], ["v4.channel.k8s.io"])
        upgraded.transport.abort()


async def test_an_upgrade_that_is_refused_tells_so_in_terms_of_the_api() -> None:
    async with ApiServer(prefix="/k8s/c-1", allows=lambda asked: False) as server:
        async with sending(server.access()) as transport:
            with pytest.raises(Forbidden) as caught:
                await transport.upgrade(FORWARD, [], ["v4.channel.k8s.io"])

        assert caught.value.summary.endswith("get pods/portforward in the namespace default")


async def test_an_upgrade_is_repeated_when_the_server_fails() -> None:
    async with ApiServer() as server:
        server.handlers["pods", "portforward"] = websocket
        server.fail(502)
        async with sending(server.access()) as transport:
            upgraded = await transport.upgrade(FORWARD, [], ["v4.channel.k8s.io"])
            upgraded.transport.abort()

        assert transport.request_count == 2


async def test_an_upgrade_whose_token_is_refused_gets_another_one(
    server_tls: ssl.SSLContext, trusting: Tls, tmp_path: Path
) -> None:
    async with ApiServer(tls=server_tls, token="new") as server:
        server.handlers["pods", "portforward"] = websocket
        access = server.access(tls=trusting, user=plugin_user(tmp_path, "old", "new"))
        async with sending(access) as transport:
            upgraded = await transport.upgrade(FORWARD, [], ["v4.channel.k8s.io"])
            upgraded.transport.abort()

        assert transport.request_count == 2


def plugin_user(directory: Path, *tokens: str) -> User:
    """A user whose plugin gives one token after the other, and then the last one for ever."""
    for number, token in enumerate(tokens):
        (directory / str(number)).write_text(
            json.dumps(
                {
                    "kind": "ExecCredential",
                    "apiVersion": "client.authentication.k8s.io/v1",
                    "status": {"token": token},
                }
            )
        )
    script = (
        f"cd {directory}; n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) > n; "
        f"[ -e $n ] || n={len(tokens) - 1}; cat $n"
    )
    plugin = ExecPlugin("/bin/sh", ("-c", script), interactive_mode="Never")
    return User(label="the user of the test", exec=plugin)


async def test_a_refused_token_is_replaced_once_by_the_plugin(
    server_tls: ssl.SSLContext, trusting: Tls, tmp_path: Path
) -> None:
    async with ApiServer(tls=server_tls, token="new") as server:
        access = server.access(tls=trusting, user=plugin_user(tmp_path, "old", "new"))

        assert await read(access, GET) == 2
        assert (tmp_path / "n").read_text().strip() == "2"


async def test_many_refused_requests_run_the_plugin_once_more_only(
    server_tls: ssl.SSLContext, trusting: Tls, tmp_path: Path
) -> None:
    async with ApiServer(tls=server_tls, token="new") as server:
        access = server.access(tls=trusting, user=plugin_user(tmp_path, "old", "new"))
        async with sending(access) as transport:
            await asyncio.gather(*(transport.read(GET) for _ in range(10)))

        assert (tmp_path / "n").read_text().strip() == "2"


async def test_a_token_that_stays_refused_raises_unauthorized(
    server_tls: ssl.SSLContext, trusting: Tls, tmp_path: Path
) -> None:
    async with ApiServer(tls=server_tls, token="right") as server:
        access = server.access(tls=trusting, user=plugin_user(tmp_path, "wrong", "wrong again"))

        with pytest.raises(Unauthorized):
            await read(access, GET)

        assert len(server.requests) == 2


async def test_an_expired_token_is_called_expired(
    server_tls: ssl.SSLContext, trusting: Tls, tmp_path: Path
) -> None:
    claims = json.dumps({"exp": time.time() - 7300}).encode()
    token = f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"
    async with ApiServer(tls=server_tls, token="right") as server:
        access = server.access(tls=trusting, user=User(label='the user "dev" in /k', token=token))

        with pytest.raises(Unauthorized) as caught:
            await read(access, GET)

        assert caught.value.summary.endswith(
            'the credentials of the user "dev" in /k: the token expired 2 hours ago'
        )
        assert len(server.requests) == 1


async def test_a_connection_that_was_idle_is_not_used_again_once_renewed(
    server_tls: ssl.SSLContext, trusting: Tls
) -> None:
    """After the network has changed it may be dead, and nobody would answer on it."""
    clients = []

    async def note(request: web.Request) -> None:
        assert request.transport is not None
        clients.append(request.transport.get_extra_info("peername"))

    async with ApiServer(tls=server_tls) as server, sending(server.access(tls=trusting)) as sender:
        server.faults.append(note)
        await sender.read(GET)
        await sender.read(GET)
        sender.renew()
        await sender.read(GET)

    assert clients[0] == clients[1] != clients[2]


async def test_a_token_that_is_refused_is_looked_for_in_the_kubeconfig_again(
    server_tls: ssl.SSLContext, trusting: Tls
) -> None:
    async with ApiServer(tls=server_tls, token="new") as server:
        again = server.access(tls=trusting, user=User(token="new"))
        access = server.access(tls=trusting, user=User(token="old"))
        access = replace(access, reload=lambda: again)
        async with sending(access) as sender:
            await sender.read(GET)
            await sender.read(GET)

        assert len(server.requests) == 3


async def test_a_kubeconfig_that_is_broken_by_now_leaves_the_refusal(
    server_tls: ssl.SSLContext, trusting: Tls
) -> None:
    def broken() -> Access:
        raise ConfigError("half of a file")

    async with ApiServer(tls=server_tls, token="new") as server:
        access = server.access(tls=trusting, user=User(token="old"))
        with pytest.raises(Unauthorized):
            await read(replace(access, reload=broken), GET)
