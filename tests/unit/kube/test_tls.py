from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes.apiserver import ApiServer
from tests.fakes.pki import Authority, Pair
from towline.errors import ConfigError
from towline.kube.client import Client
from towline.kube.config import Pem, Tls, User
from towline.kube.errors import ConnectionFailed
from towline.kube.tls import client_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web


async def version(server: ApiServer, tls: Tls, user: User | None = None, host: str = "") -> bytes:
    access = server.access(tls=tls, user=user)
    if host:
        access = replace(access, server=access.server.replace("127.0.0.1", host))
    async with Client(access) as client:
        return await client.get_raw("/version")


async def test_a_server_signed_by_the_authority_is_trusted(
    server_tls: ssl.SSLContext, trusting: Tls
) -> None:
    async with ApiServer(tls=server_tls) as server:
        assert await version(server, trusting)


async def test_an_inline_authority_with_comments_is_trusted(
    server_tls: ssl.SSLContext, authority: Authority
) -> None:
    pem = "# Ünïcode\n".encode() + authority.pair.certificate.read_bytes()
    async with ApiServer(tls=server_tls) as server:
        assert await version(server, Tls(ca=Pem(data=pem)))


async def test_a_pinned_server_certificate_is_trusted(
    server_tls: ssl.SSLContext, server_pair: Pair
) -> None:
    async with ApiServer(tls=server_tls) as server:
        assert await version(server, Tls(ca=Pem(file=server_pair.certificate)))


async def test_another_authority_is_not_trusted(server_tls: ssl.SSLContext, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    async with ApiServer(tls=server_tls) as server:
        with pytest.raises(ConnectionFailed) as caught:
            await version(server, Tls(ca=Pem(file=other.pair.certificate)))

        assert "could not prove who it is" in caught.value.summary
        assert "certificate-authority" in caught.value.hint
        assert server.requests == []


async def test_the_systems_authorities_do_not_trust_it_either(server_tls: ssl.SSLContext) -> None:
    async with ApiServer(tls=server_tls) as server:
        with pytest.raises(ConnectionFailed, match="could not prove"):
            await version(server, Tls())


async def test_insecure_trusts_anyone(server_tls: ssl.SSLContext) -> None:
    async with ApiServer(tls=server_tls) as server:
        assert await version(server, Tls(insecure=True))


async def test_another_name_in_the_certificate_hints_at_tls_server_name(
    server_tls: ssl.SSLContext, trusting: Tls
) -> None:
    async with ApiServer(tls=server_tls) as server:
        with pytest.raises(ConnectionFailed) as caught:
            await version(server, replace(trusting, server_name="other.test"))

        assert "tls-server-name" in caught.value.hint


async def test_tls_server_name_is_what_is_verified_and_asked_for(
    server_tls: ssl.SSLContext, trusting: Tls
) -> None:
    asked: list[str | None] = []
    server_tls.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with ApiServer(tls=server_tls) as server:
        assert await version(server, replace(trusting, server_name="kubernetes.test"))

    assert asked == ["kubernetes.test"]


async def test_a_client_certificate_is_shown_to_the_server(
    server_tls: ssl.SSLContext, trusting: Tls, authority: Authority
) -> None:
    pair = authority.issue("jane")
    user = User(
        certificate=Pem(data=pair.certificate.read_bytes()), key=Pem(data=pair.key.read_bytes())
    )
    seen = []
    async with ApiServer(tls=server_tls) as server:

        async def note(request: web.Request) -> None:
            seen.append(request.get_extra_info("peercert")["subject"])

        server.faults.append(note)
        await version(server, trusting, user)

    assert seen == [((("commonName", "jane"),),)]


@asynccontextmanager
async def connect_proxy(port: int, heads: list[bytes]) -> AsyncIterator[str]:
    """An HTTP proxy that leads every CONNECT to a port of this machine."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with suppress(ConnectionError):
            await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_tls_goes_through_a_proxy_to_the_server_itself(
    server_tls: ssl.SSLContext, trusting: Tls
) -> None:
    heads: list[bytes] = []
    async with ApiServer(tls=server_tls) as server:
        port = int(server.url.rpartition(":")[2])
        async with connect_proxy(port, heads) as address:
            access = replace(
                server.access(tls=replace(trusting, server_name="kubernetes.test")),
                server="https://cluster.invalid:6443",
                proxy=f"http://me:pw@{address}",
            )
            async with Client(access) as client:
                assert b"gitVersion" in await client.get_raw("/version")

    assert heads[0].startswith(b"CONNECT cluster.invalid:6443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bWU6cHc=\r\n" in heads[0]


async def test_a_port_without_tls_is_told_as_such(trusting: Tls) -> None:
    async with ApiServer() as server:
        access = replace(server.access(tls=trusting), server=server.url.replace("http:", "https:"))
        async with Client(access) as client:
            with pytest.raises(ConnectionFailed) as caught:
                await client.get_raw("/version")

        assert "No TLS connection" in caught.value.summary


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_client_key_touches_no_file_system(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = authority.issue("john")
    certificate, key = pair.certificate.read_bytes(), pair.key.read_bytes()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not there"))
    before = descriptors()

    client_context(Tls(), certificate, key)

    assert descriptors() == before


def test_client_key_leaves_no_file_where_there_is_no_memory_file(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = authority.issue("jim")
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    client_context(Tls(), pair.certificate.read_bytes(), pair.key.read_bytes())

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pem", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\n!\n"])
def test_an_authority_without_a_certificate_is_a_config_error(pem: bytes) -> None:
    with pytest.raises(ConfigError, match="certificate-authority"):
        client_context(Tls(ca=Pem(data=pem)))


def test_a_key_that_does_not_fit_is_a_config_error(authority: Authority) -> None:
    one, other = authority.issue("one"), authority.issue("other")

    with pytest.raises(ConfigError, match="cannot be used together"):
        client_context(Tls(), one.certificate.read_bytes(), other.key.read_bytes())
