"""A cluster's API as a pod sees it."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.apiserver import ApiServer
from tests.fakes.pki import Authority, Pair
from tests.unit.agent.inside import Inside


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"), "authority")


@pytest.fixture(scope="session")
def server_pair(authority: Authority) -> Pair:
    return authority.issue("server", alternatives="IP:127.0.0.1,IP:::1")


@pytest.fixture
def server_tls(server_pair: Pair) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server_pair.certificate, server_pair.key)
    return context


@pytest.fixture
async def inside(
    authority: Authority,
    server_tls: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Inside]:
    """An API server, and this process as a pod of its cluster; subprocesses as well."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    shutil.copy(authority.pair.certificate, folder / "ca.crt")
    (folder / "token").write_text("first\n")
    async with ApiServer(token="first", tls=server_tls) as server:
        found = Inside(server, folder)
        found.advertise(monkeypatch)
        yield found
