"""The Kubernetes API as the agent's pod has it."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from aiohttp import web

from tests.fakes.pki import Authority, Pair
from tests.unit.agent.inside import KEY, PATH, Inside
from towline.agent import apiserver
from towline.agent.apiserver import ApiFailure, ApiServer, Conflict, NotFound

SECONDS = 20.0  # until a test that hangs fails


async def test_object_is_read_and_patched(inside: Inside) -> None:
    await inside.intercept()
    api = ApiServer(str(inside.folder))
    found = await api.get(PATH)
    assert found == inside.service
    version = found["metadata"]["resourceVersion"]
    change = {"metadata": {"resourceVersion": version, "labels": {"a": "b"}}}
    assert await api.patch(PATH, change) == inside.service
    assert inside.service["metadata"]["labels"] == {"a": "b"}


async def test_write_on_what_has_changed_is_a_conflict(inside: Inside) -> None:
    await inside.intercept()
    with pytest.raises(Conflict):
        await ApiServer(str(inside.folder)).patch(PATH, {"metadata": {"resourceVersion": "1"}})


async def test_object_that_is_not_there_is_told_from_a_kind_that_is_not_there(
    inside: Inside,
) -> None:
    api = ApiServer(str(inside.folder))
    with pytest.raises(NotFound):
        await api.get(PATH)
    with pytest.raises(ApiFailure) as caught:
        await api.get("/apis/nothing/v1/things/here/there/web/nowhere")
    assert not isinstance(caught.value, NotFound)


async def test_refusal_is_told_in_the_servers_words(inside: Inside) -> None:
    inside.server.allows = lambda _: False
    with pytest.raises(ApiFailure, match=r'403 .*cannot get resource "services"'):
        await ApiServer(str(inside.folder)).get(PATH)


async def test_token_is_read_afresh_for_each_call(inside: Inside) -> None:
    await inside.intercept()
    api = ApiServer(str(inside.folder))
    await api.get(PATH)
    inside.server.token = "second"
    with pytest.raises(ApiFailure, match="401"):
        await api.get(PATH)
    (inside.folder / "token").write_text("second")
    assert await api.get(PATH) == inside.service


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
async def test_pod_without_service_account_says_so(inside: Inside, missing: str) -> None:
    (inside.folder / missing).unlink()
    with pytest.raises(ApiFailure, match="No such file"):
        await ApiServer(str(inside.folder)).get(PATH)


async def test_pod_that_is_not_told_where_the_api_is_says_so(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    with pytest.raises(ApiFailure, match="KUBERNETES_SERVICE_HOST"):
        await ApiServer(str(inside.folder)).get(PATH)


async def test_server_of_another_authority_gets_no_token(inside: Inside, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other").pair.certificate
    (inside.folder / "ca.crt").write_bytes(other.read_bytes())
    with pytest.raises(ApiFailure, match="CERTIFICATE_VERIFY_FAILED"):
        await ApiServer(str(inside.folder)).get(PATH)
    assert inside.server.requests == []


@pytest.mark.parametrize("code", [200, 502])
async def test_answer_that_is_no_object_is_a_failure(inside: Inside, code: int) -> None:
    inside.server.fail(code, message="<html>")
    with pytest.raises(ApiFailure, match=str(code)):
        await ApiServer(str(inside.folder)).get(PATH)


async def test_connection_that_is_cut_is_a_failure(inside: Inside) -> None:
    inside.server.hang_up()
    with pytest.raises(ApiFailure):
        await ApiServer(str(inside.folder)).get(PATH)


async def test_silence_is_a_failure_after_a_time(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apiserver, "CALL_SECONDS", 0.5)

    async def silence(_: web.Request) -> web.StreamResponse | None:
        await asyncio.sleep(SECONDS)
        return None

    inside.server.faults.append(silence)
    async with asyncio.timeout(SECONDS / 2):
        with pytest.raises(ApiFailure, match=r"within 0\.5 s"):
            await ApiServer(str(inside.folder)).get(PATH)


async def test_cancelled_call_leaves_no_thread_waiting(inside: Inside) -> None:
    asked = asyncio.Event()
    gone = asyncio.Event()

    async def silence(_: web.Request) -> web.StreamResponse | None:
        asked.set()
        try:
            await asyncio.sleep(SECONDS)
        finally:
            gone.set()
        return None

    inside.server.faults.append(silence)
    call = asyncio.ensure_future(ApiServer(str(inside.folder)).get(PATH))
    async with asyncio.timeout(apiserver.CALL_SECONDS * 0.8):
        await asked.wait()
        call.cancel()
        await gone.wait()
        await asyncio.get_running_loop().shutdown_default_executor()
    assert call.cancelled()


async def test_cancellation_that_comes_with_the_answer_is_not_lost(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    work: asyncio.Future[tuple[int, bytes]] = loop.create_future()
    monkeypatch.setattr(loop, "run_in_executor", lambda *_: work)
    call = asyncio.ensure_future(ApiServer(str(inside.folder)).get(PATH))
    await asyncio.sleep(0)
    work.set_result((200, b"{}"))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_call_that_is_cancelled_while_it_connects_is_not_sent(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    await inside.intercept()
    loop = asyncio.get_running_loop()
    connecting, go_on = asyncio.Event(), asyncio.Event()
    connect = apiserver.http.client.HTTPSConnection.connect

    def slow(self: apiserver.http.client.HTTPSConnection) -> None:
        loop.call_soon_threadsafe(connecting.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(SECONDS)
        connect(self)

    monkeypatch.setattr(apiserver.http.client.HTTPSConnection, "connect", slow)
    change = {"metadata": {"labels": {"late": "yes"}}}
    call = asyncio.ensure_future(ApiServer(str(inside.folder)).patch(PATH, change))
    await connecting.wait()
    call.cancel()
    await asyncio.wait({call})
    go_on.set()
    await loop.shutdown_default_executor()
    assert inside.server.requests == []
    assert "labels" not in inside.server.store.objects[KEY]["metadata"]


async def test_api_is_reached_by_ipv6(
    inside: Inside, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"kind":""}')
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "::1", 0, ssl=server_tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "::1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
        assert await ApiServer(str(inside.folder)).get(PATH) == {"kind": ""}
    assert f"Host: [::1]:{port}".encode() in heard[0]


async def test_authority_may_be_any_that_has_signed(inside: Inside, server_pair: Pair) -> None:
    await inside.intercept()
    (inside.folder / "ca.crt").write_bytes(server_pair.certificate.read_bytes())
    assert await ApiServer(str(inside.folder)).get(PATH) == inside.service
