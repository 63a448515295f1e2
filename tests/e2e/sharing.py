"""Programs of people who share a service, their clients in the cluster, and people who come and go.

    python -m tests.e2e.sharing serve PORT H2PORT     programs, until the end of the input
    python -m tests.e2e.sharing ask ADDRESS PORT      clients, until the end of the input
    python -m tests.e2e.sharing come SERVICE PORT PEOPLE TIMES

The programs are one of HTTP/1.1, with server-sent events and a WebSocket, and one of HTTP/2 that
gives back what a stream sends, as gRPC's do. Clients and people print in JSON how it went.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import aiohttp
import h2.config
import h2.connection
import h2.events
from aiohttp import web

from lab.cluster import Lab
from lab.layout import CHECKOUT
from tests.e2e.laptop import Laptop
from towline.cluster.job import AgentSpec
from towline.features.downlink.mesh import Mesh
from towline.features.downlink.takeover import Sharing, Wanted
from towline.features.local.child import Child
from towline.features.reference import Reference
from towline.kube.config import load_access
from towline.routing.rules import Match

HEADER = "x-user"
RESIDENT, RESIDENT2 = "resident", "resident2"
# What has said nothing for so long has failed.
PATIENCE_SECONDS = 10.0
_TICK_SECONDS = 0.05
# So many join or leave at the same time.
_AT_THE_DOOR = 6


# -- programs


async def _answer(request: web.Request) -> web.StreamResponse:
    return web.json_response({"name": RESIDENT})


async def _events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionResetError):
        while True:
            await response.write(b"data: on\n\n")
            await asyncio.sleep(_TICK_SECONDS)
    return response


async def _websocket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    return socket


class _H2(asyncio.Protocol):
    """One end of a connection of HTTP/2: whoever uses it is told of each event."""

    def __init__(self, told: Callable[[_H2, h2.events.Event], None], *, client: bool) -> None:
        config = h2.config.H2Configuration(client_side=client)
        self.h2 = h2.connection.H2Connection(config)
        self._told = told

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.h2.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self._told(self, event)
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._told(self, h2.events.ConnectionTerminated())

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())


def _give_back(connection: _H2, event: h2.events.Event) -> None:
    if isinstance(event, h2.events.RequestReceived):
        connection.h2.send_headers(event.stream_id, [(":status", "200")])
    elif isinstance(event, h2.events.DataReceived):
        connection.h2.send_data(event.stream_id, event.data)
    elif isinstance(event, h2.events.StreamEnded):
        connection.h2.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)


async def _serve(port: str, h2_port: str) -> None:
    application = web.Application()
    application.add_routes(
        [web.get("/", _answer), web.get("/events", _events), web.get("/socket", _websocket)]
    )
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(port)).start()
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: _H2(_give_back, client=False), "127.0.0.1", int(h2_port))
    print("serving", flush=True)
    await _end_of_input()


# -- clients


class _Asking:
    """Clients of a service, and what they have seen: how often it was well, and what was wrong."""

    def __init__(self, address: str, port: int) -> None:
        host = f"[{address}]" if ":" in address else address
        self.url = f"http://{host}:{port}"
        self.where = (address, port)
        self.well: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.over = asyncio.Event()

    async def run(self) -> None:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for number in range(2):
                for what, name in (("pods", ""), ("resident", RESIDENT)):
                    group.create_task(self._kept(what, self._requests(session, what, name, number)))
            group.create_task(self._kept("events", self._events(session)))
            group.create_task(self._kept("websocket", self._websocket(session)))
            group.create_task(self._kept("h2", self._h2()))
            await _end_of_input()
            self.over.set()
        print(json.dumps({"well": self.well, "wrong": self.wrong}), flush=True)

    async def _kept(self, what: str, work: Awaitable[None]) -> None:
        try:
            await work
        except (OSError, aiohttp.ClientError, TimeoutError, AssertionError) as error:
            self.wrong.append(f"{what} after {self.well[what]}: {error!r}")

    async def _requests(
        self, session: aiohttp.ClientSession, what: str, name: str, number: int
    ) -> None:
        """One after the other; over one connection, or each over its own."""
        headers = {HEADER: name or f"nobody-{number}"}
        if number:
            headers["connection"] = "close"
        while not self.over.is_set():
            try:
                async with (
                    asyncio.timeout(PATIENCE_SECONDS),
                    session.get(f"{self.url}/", headers=headers) as response,
                ):
                    answer = await response.json()
                    assert response.status == 200, response.status
                    assert (answer["name"] == RESIDENT) == bool(name), answer["name"]
                self.well[what] += 1
            except (OSError, aiohttp.ClientError, TimeoutError, AssertionError) as error:
                self.wrong.append(f"{what}: {error!r}")
            await asyncio.sleep(_TICK_SECONDS / 5)

    async def _events(self, session: aiohttp.ClientSession) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=PATIENCE_SECONDS)
        async with session.get(
            f"{self.url}/events", headers={HEADER: RESIDENT}, timeout=timeout
        ) as response:
            assert response.status == 200, response.status
            while not self.over.is_set():
                assert await response.content.readany(), "the events have ended"
                self.well["events"] += 1

    async def _websocket(self, session: aiohttp.ClientSession) -> None:
        async with session.ws_connect(f"{self.url}/socket", headers={HEADER: RESIDENT}) as socket:
            while not self.over.is_set():
                await socket.send_str("word")
                assert await socket.receive_str(timeout=PATIENCE_SECONDS) == "word"
                self.well["websocket"] += 1
                await asyncio.sleep(_TICK_SECONDS)

    async def _h2(self) -> None:
        """A stream that sends and receives at the same time, with trailers at its end."""
        told: asyncio.Queue[h2.events.Event] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _H2(lambda _, event: told.put_nowait(event), client=True), *self.where
        )
        headers = {":method": "POST", ":path": "/", ":scheme": "http", ":authority": "web"}
        connection.h2.send_headers(1, [*headers.items(), (HEADER, RESIDENT2)])
        while not self.over.is_set():
            connection.h2.send_data(1, b"word")
            connection.flush()
            await self._until(told, h2.events.DataReceived)
            self.well["h2"] += 1
            await asyncio.sleep(_TICK_SECONDS)
        connection.h2.end_stream(1)
        connection.flush()
        await self._until(told, h2.events.TrailersReceived)
        connection.transport.close()

    @staticmethod
    async def _until(told: asyncio.Queue[h2.events.Event], kind: type) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not isinstance(event := await told.get(), kind):
                ended = (h2.events.ConnectionTerminated, h2.events.StreamReset)
                assert not isinstance(event, ended), event


# -- people


class _Silent:
    """A narrator of whom nobody hears."""

    def progress(self, message: str) -> None:
        """Nothing is shown."""

    def event(self, name: str, message: str, **data: Any) -> None:
        """Nothing is shown."""


async def _come(service: str, port: str, people: str, times: str) -> None:
    """So many people at a time, each of whom joins, stays for a moment and leaves so often."""
    seconds: list[float] = []
    door = asyncio.Semaphore(_AT_THE_DOOR)
    async with asyncio.TaskGroup() as group:
        for number in range(int(people)):
            group.create_task(_one(service, port, number, int(times), door, seconds))
    print(json.dumps({"seconds": sorted(seconds)}), flush=True)


async def _one(
    service: str,
    port: str,
    number: int,
    times: int,
    door: asyncio.Semaphore,
    seconds: list[float],
) -> None:
    for time_ in range(times):
        async with AsyncExitStack() as stack:
            async with door:
                began = time.monotonic()
                part = _part(service, port, f"guest-{number}-{time_}")
                await stack.enter_async_context(part.open())
                seconds.append(time.monotonic() - began)
            await asyncio.sleep(number % 4 * 0.5)
            async with door:
                await stack.aclose()


def _part(service: str, port: str, name: str) -> Mesh:
    sharing = Sharing((Match.parse(f"header:{HEADER}={name}"),), 0, "", "unused")
    wanted = Wanted(
        Reference.parse(service),
        exposed=(f"{port}:80",),
        strict=False,
        force=False,
        copy=False,
        proxy_protocol=False,
        child=Child(()),
        agent=AgentSpec(grace_seconds=30),
        timeout_seconds=60,
        sharing=sharing,
    )
    return Mesh(load_access(), wanted, sharing, _Silent())


# -- from a test


@contextmanager
def programs(laptop: Laptop, port: int, h2_port: int) -> Iterator[None]:
    """Programs of two residents on the laptop meanwhile."""
    argv = [sys.executable, "-m", __name__, "serve", str(port), str(h2_port)]
    with laptop.start(argv, stdin=-1, stdout=-1, cwd=CHECKOUT) as process:
        assert process.stdout.readline() == "serving\n"
        yield
        process.stdin.close()


@contextmanager
def asking(lab: Lab, address: str, port: int) -> Iterator[dict[str, Any]]:
    """Clients on the node meanwhile; afterwards it has what they have seen."""
    seen: dict[str, Any] = {}
    argv = [sys.executable, "-m", __name__, "ask", address, str(port)]
    with lab.popen_in_node(argv, cwd=CHECKOUT, stdin=-1, stdout=-1, text=True) as process:
        yield seen
        process.stdin.close()
        seen.update(json.loads(process.stdout.read()))


def come_and_go(laptop: Laptop, service: str, port: int, people: int, times: int) -> list[float]:
    """People who join and leave; gives how many seconds each joining took, shortest first."""
    numbers = map(str, (port, people, times))
    done = laptop.run(
        sys.executable, "-m", "tests.e2e.sharing", "come", service, *numbers, seconds=180
    )
    assert done.returncode == 0, done.stderr
    found: list[float] = json.loads(done.stdout)["seconds"]
    return found


async def _end_of_input() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    await ended.wait()


if __name__ == "__main__":
    do = {"serve": _serve, "come": _come}.get(sys.argv[1])
    with contextlib.suppress(KeyboardInterrupt):
        if do:
            asyncio.run(do(*sys.argv[2:]))
        else:
            asyncio.run(_Asking(sys.argv[2], int(sys.argv[3])).run())
