from __future__ import annotations

import asyncio
import gc
import json
from typing import TYPE_CHECKING

import aiohttp
import pytest
import yarl
from multidict import CIMultiDict

from tests.fakes.switching import Asked, Server, serving
from towline.kube import tls
from towline.kube.errors import ApiError, Forbidden, Invalid, NotFound, ServerError
from towline.kube.upgrade import UpgradeBlocked, Upgraded, upgrade

if TYPE_CHECKING:
    import ssl

    from towline.kube.config import Tls

PATH = "/api/v1/namespaces/dev/pods/web-0/portforward"


async def ask(
    server: Server,
    session: aiohttp.ClientSession,
    *,
    context: ssl.SSLContext | None = None,
    proxy: str | None = None,
) -> Upgraded:
    scheme = "https" if context else "http"
    return await upgrade(
        session,
        yarl.URL(f"{scheme}://127.0.0.1:{server.port}{PATH}").with_query(ports="80"),
        headers=CIMultiDict([("Authorization", "Bearer abc"), ("Impersonate-Group", "a")]),
        ssl=context,
        proxy=proxy,
        subprotocols=["v4.channel.k8s.io"],
    )


class Collector(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = bytearray()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(None)


async def all_that_comes(upgraded: Upgraded) -> bytes:
    collector = Collector()
    early = upgraded.attach(collector)
    await collector.lost
    return early + collector.data


@pytest.fixture(autouse=True)
def _nothing_unclosed() -> object:
    """Warnings about what was not closed come up in the test that is to blame."""
    yield
    gc.collect()
    return None


@pytest.fixture(params=["plain", "tls"])
def contexts(
    request: pytest.FixtureRequest, server_tls: ssl.SSLContext, trusting: Tls
) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """The server's side and the client's."""
    if request.param == "plain":
        return None, None
    return server_tls, tls.client_context(trusting, b"", b"")


async def test_upgrade_asks_as_the_rfc_says_and_passes_on_the_headers() -> None:
    async def answer(asked: Asked) -> None:
        await asked.switch()

    async with serving(answer) as server, aiohttp.ClientSession() as session:
        upgraded = await ask(server, session)
        upgraded.transport.abort()

    (asked,) = server.asked
    assert asked.lines[0] == f"GET {PATH}?ports=80 HTTP/1.1"
    assert asked.header("Connection") == ["Upgrade"]
    assert asked.header("Upgrade") == ["websocket"]
    assert asked.header("Sec-WebSocket-Version") == ["13"]
    assert asked.header("Sec-WebSocket-Protocol") == ["v4.channel.k8s.io"]
    assert asked.header("Authorization") == ["Bearer abc"]
    assert asked.header("Impersonate-Group") == ["a"]
    assert upgraded.subprotocol == "v4.channel.k8s.io"


@pytest.mark.parametrize("size", [0, 1, 5_000, 3_000_000])
async def test_what_follows_the_answer_at_once_is_not_lost(
    size: int, contexts: tuple[ssl.SSLContext | None, ssl.SSLContext | None]
) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)

    async def answer(asked: Asked) -> None:
        await asked.switch(behind=data)
        asked.writer.close()
        await asked.writer.wait_closed()

    async with serving(answer, contexts[0]) as server, aiohttp.ClientSession() as session:
        upgraded = await ask(server, session, context=contexts[1])
        received = await all_that_comes(upgraded)

    assert received == data


async def test_connection_outlives_the_session_that_made_it(
    contexts: tuple[ssl.SSLContext | None, ssl.SSLContext | None],
) -> None:
    async def echo(asked: Asked) -> None:
        await asked.switch()
        await asked.send(await asked.reader.readexactly(5))

    async with serving(echo, contexts[0]) as server:
        async with aiohttp.ClientSession() as session:
            upgraded = await ask(server, session, context=contexts[1])
        gc.collect()
        await asyncio.sleep(0)
        upgraded.transport.write(b"hello")

        assert await all_that_comes(upgraded) == b"hello"


async def test_nothing_is_read_before_there_is_a_protocol() -> None:
    more = asyncio.Event()

    async def answer(asked: Asked) -> None:
        await asked.switch(behind=b"a")
        await more.wait()
        await asked.send(b"b")

    async with serving(answer) as server, aiohttp.ClientSession() as session:
        upgraded = await ask(server, session)
        more.set()
        await server.gone(0)

        assert await all_that_comes(upgraded) == b"ab"


async def test_loss_before_there_is_a_protocol_is_told_to_it() -> None:
    async def answer(asked: Asked) -> None:
        await asked.switch(behind=b"last words")
        await asked.reader.read()

    async with serving(answer) as server, aiohttp.ClientSession() as session:
        upgraded = await ask(server, session)
        upgraded.transport.abort()
        await server.gone(0)

        assert await all_that_comes(upgraded) == b"last words"


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [
        (403, {"kind": "Status", "code": 403, "message": "no", "reason": "Forbidden"}, Forbidden),
        (404, {"kind": "Status", "code": 404, "message": "gone", "reason": "NotFound"}, NotFound),
        (404, "pod does not exist", NotFound),
        (400, {"kind": "Status", "code": 400, "message": "pod has no host"}, Invalid),
        (400, {"kind": "Status", "message": "Upgrade request required"}, UpgradeBlocked),
        (400, "Unable to upgrade: missing upgrade headers in request", UpgradeBlocked),
        (200, "<html>sign in</html>", UpgradeBlocked),
        (426, "", UpgradeBlocked),
        (500, "x" * 200_000, ServerError),
        (502, "bad gateway", ServerError),
    ],
)
async def test_another_answer_is_told_as_a_typed_error(
    code: int, body: object, kind: type[ApiError]
) -> None:
    text = (body if isinstance(body, str) else json.dumps(body)).encode()

    async def answer(asked: Asked) -> None:
        await asked.send(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (code, len(text)))
        await asked.send(text)
        await asked.reader.read()

    async with serving(answer) as server, aiohttp.ClientSession() as session:
        with pytest.raises(ApiError) as caught:
            await ask(server, session)

    assert type(caught.value) is kind
    assert caught.value.action is not None
    assert caught.value.action.name == "web-0"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Sec_WebSocket_Accept": "bm90IHlvdXJz"}, "does not belong to this request"),
        ({"Sec_WebSocket_Protocol": ""}, "its subprotocol is none"),
        ({"Sec_WebSocket_Protocol": "v9.channel.k8s.io"}, "its subprotocol is v9.channel.k8s.io"),
        ({"Sec_WebSocket_Extensions": "permessage-deflate"}, "an extension"),
        ({"Upgrade": "SPDY/3.1"}, "does not say that it upgrades to a WebSocket"),
        ({"Upgrade": ""}, "does not say that it upgrades to a WebSocket"),
    ],
)
async def test_false_handshake_is_refused(changes: dict[str, str], words: str) -> None:
    async def answer(asked: Asked) -> None:
        await asked.switch(**changes)
        await asked.reader.read()  # until the client closes it

    async with serving(answer) as server, aiohttp.ClientSession() as session:
        with pytest.raises(UpgradeBlocked, match=words):
            await ask(server, session)
        await session.close()
        await server.gone(0)


async def test_hanging_up_is_left_to_the_caller() -> None:
    async def answer(asked: Asked) -> None:
        pass

    async with serving(answer) as server, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await ask(server, session)


async def test_cancelling_closes_the_connection() -> None:
    asked_for = asyncio.Event()

    async def answer(asked: Asked) -> None:
        asked_for.set()
        await asked.reader.read()

    async with serving(answer) as server, aiohttp.ClientSession() as session:
        task = asyncio.ensure_future(ask(server, session))
        await asked_for.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.gone(0)


async def test_upgrade_works_through_a_proxy(server_tls: ssl.SSLContext, trusting: Tls) -> None:
    async def echo(asked: Asked) -> None:
        await asked.switch(behind=b"hello")
        await asked.send(await asked.reader.readexactly(100_000))

    async def connect(asked: Asked) -> None:
        host, _, port = asked.lines[0].split()[1].partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await asked.send(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(asked.reader, writer))
                group.create_task(_copy(reader, asked.writer))
        finally:
            writer.transport.abort()

    context = tls.client_context(trusting, b"", b"")
    async with (
        serving(echo, server_tls) as server,
        serving(connect) as proxy,
        aiohttp.ClientSession() as session,
    ):
        upgraded = await ask(
            server, session, context=context, proxy=f"http://127.0.0.1:{proxy.port}"
        )
        upgraded.transport.write(bytes(100_000))

        assert await all_that_comes(upgraded) == b"hello" + bytes(100_000)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
