"""The end of the sidecar beside an agent."""

from __future__ import annotations

import asyncio
import socket

from towline.agent.sidecar import quit_sidecar


async def test_sidecar_is_asked_to_end_and_answers() -> None:
    asked = asyncio.Queue[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked.put(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        await asyncio.to_thread(quit_sidecar, server.sockets[0].getsockname()[1])
        assert (await asked.get()).startswith(b"POST /quitquitquit HTTP/1.0\r\n")


def test_without_a_sidecar_nothing_happens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    quit_sidecar(port)
