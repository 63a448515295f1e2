"""What a session finds of a port of UDP, by a real agent in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.link.agents import linked
from towline.features.uplink import explain as module
from towline.features.uplink.explain import Explainer

HERE = "127.0.0.1"


class Everything:
    """Leads that lead all addresses, and a cluster in which nobody has any."""

    def __contains__(self, _: Any) -> bool:
        return True


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def find(*_: Any) -> None: ...

    monkeypatch.setattr(module.behind, "find", find)


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind((HERE, 0))
        made.setblocking(False)
        yield made


async def tried(link: Any, port: int) -> str:
    nothing: Any = None
    leads: Any = Everything()
    explainer = Explainer(nothing, "default", nothing, leads, nothing, link)
    told = await explainer.explain({"host": HERE, "port": f"{port}/udp"})
    dial: str = told["addresses"][0]["dial"]
    return dial


async def test_answer_is_told(peer: socket.socket) -> None:
    async with linked() as (_, link, _), asyncio.TaskGroup() as group:
        trying = group.create_task(tried(link, peer.getsockname()[1]))
        loop = asyncio.get_running_loop()
        said, agent = await loop.sock_recvfrom(peer, 100)
        assert said == b""
        await loop.sock_sendto(peer, b"", agent)
        assert await trying == "answered"


async def test_closed_port_is_told(peer: socket.socket) -> None:
    port = peer.getsockname()[1]
    peer.close()
    async with linked() as (_, link, _):
        assert await tried(link, port) == "refused"


async def test_silence_is_told_after_a_while(
    peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DATAGRAM_SECONDS", 0.05)
    async with linked() as (_, link, _):
        assert await tried(link, peer.getsockname()[1]) == "silent"
