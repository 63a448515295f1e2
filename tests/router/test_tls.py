"""Services that speak TLS: it ends at the router, and is spoken to the original pods."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack

import pytest

from tests.fakes.pki import Authority
from tests.router import envoys, http1, http2
from towline.routing.protocols import Speaks


def _client(folder, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


@pytest.fixture
def pods(tmp_path):
    """What the pods speak: a certificate of theirs, which is nobody's but the router's to see."""
    pair = Authority(tmp_path, "other").issue("pod")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@pytest.fixture
async def behind(tmp_path):
    """A function that makes a router with a certificate before a port of this machine."""
    pair = Authority(tmp_path, "ca").issue("web")
    secret = tmp_path / "secret"
    secret.mkdir()
    pair.certificate.rename(secret / "tls.crt")
    pair.key.rename(secret / "tls.key")
    async with AsyncExitStack() as stack:

        async def begin(original: int) -> envoys.Router:
            port = envoys.routed(original, Speaks.TLS)
            running = envoys.running(tmp_path / "router", port, tls_folder=secret)
            return await stack.enter_async_context(running)

        yield begin


async def test_http_is_routed_to_pods_by_tls_and_to_participants_without(behind, pods, tmp_path):
    async with (
        http1.Server("original").listening(context=pods) as original,
        http1.Server("ada").listening() as ada,
    ):
        router = await behind(original.port)
        await router.join("ada", "header:x-tow=ada", slots=[ada.port])
        async with http1.connected(router.port, _client(tmp_path)) as client:
            told = (await client.ask()).json()
            assert told["who"] == "original"
            assert dict(told["headers"])["x-forwarded-proto"] == "https"
            assert (await client.ask("GET /", "X-Tow: ada")).json()["who"] == "ada"


async def test_client_chooses_http_2(behind, pods, tmp_path):
    pods.set_alpn_protocols(["h2"])
    async with (
        http2.Server("original").listening(context=pods) as original,
        http2.Server("ada").listening() as ada,
    ):
        router = await behind(original.port)
        await router.join("ada", "header:x-tow=ada", slots=[ada.port])
        async with http2.connected(router.port, _client(tmp_path, "h2", "http/1.1")) as client:
            assert (await client.call()).headers["who"] == "original"
            assert (await client.call(("x-tow", "ada"))).headers["who"] == "ada"


async def test_when_the_participant_is_not_there_the_pods_answer(behind, pods, tmp_path):
    async with http1.Server("original").listening(context=pods) as original:
        router = await behind(original.port)
        await router.join("ada", "header:x-tow=ada", slots=[envoys.free_port()])
        async with http1.connected(router.port, _client(tmp_path)) as client:
            answered = await client.ask("GET /", "X-Tow: ada")
            assert answered.json()["who"] == "original"
            assert "ada@laptop is not there" in answered.values("x-towline")[0]
