"""The agent finds its originals by a name that it has looked up once."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.unit.agent.running import LONG_GRACE_SECONDS, SECONDS, agent

# A nameserver that answers a lookup of the name alone, the time that is given, and no other.
NAMESERVER = """
import socket
from towline.agent import addresses
addresses.RETRY_SECONDS = 0.01
known, times = socket.getaddrinfo, []

def look_up(host, port, *rest, **more):
    if host == "original.test":
        if port is None:
            times.append(host)
        if port is not None or len(times) != {answered}:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        host = "127.0.0.1"
    return known(host, port, *rest, **more)

socket.getaddrinfo = look_up
"""


async def _original(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"original")
    writer.close()


async def asked(port: int) -> bytes:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = await reader.read()
        writer.close()
    except ConnectionError:
        return b""
    return answer


@pytest.mark.parametrize("answered", [1, 3])
async def test_original_is_reached_without_further_lookups(answered: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with await asyncio.start_server(_original, "127.0.0.1", 0) as original:
        target = original.sockets[0].getsockname()[1]
        options = [f"--intercept={port}=original.test:{target}"]
        before = NAMESERVER.format(answered=answered)
        async with agent(LONG_GRACE_SECONDS, before, options), asyncio.timeout(SECONDS):
            while not await asked(port):
                await asyncio.sleep(0.05)
            assert [await asked(port) for _ in range(10)] == [b"original"] * 10
