"""Rules that change while others have streams and kept connections: what becomes of those."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from benchmarks import weights
from benchmarks.routers.proxies import HEADER, Proxy

_FORCE_SECONDS = 20.0
_LOOK_SECONDS, _LOOKS = 0.005, 200
# What has been cut tells of it when something is read; a line comes every 100 ms.
_SETTLE_SECONDS = 1.0

Figures = dict[str, float]


@dataclass
class _Streams:
    """Responses without an end."""

    broken: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def hold(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.writers.append(writer)
        writer.write(b"GET /stream HTTP/1.1\r\nHost: web\r\n\r\n")
        try:
            while await reader.read(4096):
                pass
        except OSError:
            pass
        self.broken += 1


async def measure(proxy: Proxy, streams: int, changes: int) -> Figures:
    """With so many streams open, add participants one by one.

    `broken` of the streams, and `lost` requests of a client that keeps its connection and asks all
    the time; `force` is the median of seconds until a new connection has the new rule;
    `processes` and `memory` (MB) there are in the end.
    """
    held = _Streams()
    done = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        holding = [tasks.create_task(held.hold(proxy.port)) for _ in range(streams)]
        asking = tasks.create_task(_keep_asking(proxy.port, done))
        took = []
        for count in range(1, changes + 1):
            began = time.monotonic()
            await asyncio.to_thread(proxy.have, count)
            await _until_in_force(proxy, f"p{count - 1}")
            took.append(time.monotonic() - began)
        await asyncio.sleep(_SETTLE_SECONDS)
        done.set()
        lost, asked = await asking
        figures = {
            "broken": held.broken,
            "lost": lost,
            "asked": asked,
            "force": sorted(took)[len(took) // 2],
            "processes": len(proxy.pids()),
            "memory": weights.resident(proxy.pids()),
        }
        for task in holding:
            task.cancel()
    for writer in held.writers:
        writer.close()
    return figures


async def _until_in_force(proxy: Proxy, name: str) -> None:
    """Wait until the other origin answers."""
    looked = 0
    async with asyncio.timeout(_FORCE_SECONDS):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                answer = await _ask(reader, writer, f"{HEADER}: {name}\r\n")
                writer.close()
            except OSError:
                answer = b""
            if b"origin-port: %d" % proxy.other in answer.lower():
                return
            await asyncio.sleep(_LOOK_SECONDS)
            looked += 1
            if not looked % _LOOKS:
                proxy.insist()


async def _keep_asking(port: int, done: asyncio.Event) -> tuple[int, int]:
    """How many requests of a client were lost that keeps its connection, and how many it had."""
    lost = asked = 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not done.is_set():
        asked += 1
        try:
            answer = await _ask(reader, writer)
        except OSError:
            lost += 1
            answer = b"connection: close"
        if b"connection: close" in answer.lower():
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.001)
    writer.close()
    return lost, asked


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: str = ""
) -> bytes:
    """The head of the answer. Raises OSError when there is none."""
    writer.write(f"GET / HTTP/1.1\r\nHost: web\r\n{headers}\r\n".encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        if b"content-length: " in lower:
            await reader.readexactly(int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]))
    except asyncio.IncompleteReadError as error:
        raise OSError("the connection has ended") from error
    return head
