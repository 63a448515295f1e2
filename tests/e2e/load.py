"""Clients in the cluster that ask a service again and again, each time over a new connection.

    with load(lab, address, 80) as under:
        under.await_count(10_000)
    assert under.failures == []

They are a process on the node:
`python -m tests.e2e.load PROTOCOL ADDRESS PORT CLIENTS PATIENCE PAUSE`, both in seconds.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab.cluster import Lab
from lab.layout import CHECKOUT
from tests.e2e.waiting import until

CLIENTS = 8
# A request that has had no answer for so long has failed.
PATIENCE_SECONDS = 5.0
_END_SECONDS = 30.0
# After a failure, so that a service that refuses is not all that the machine is busy with.
_PAUSE_SECONDS = 0.01

_REQUEST = b"GET / HTTP/1.1\r\nHost: load\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Request:
    """One request: `began` and `ended` are of time.monotonic(); who answered, or what went wrong.

    Who answers tells its name, as the sample application does: `name` in JSON, over UDP the word
    before what was sent.
    """

    began: float
    ended: float
    answer: str
    error: str

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


class Load:
    """What the clients have seen so far."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    @property
    def count(self) -> int:
        """How many requests are over."""
        return len(self.requests)

    @property
    def failures(self) -> list[Request]:
        """Those without an answer."""
        return [request for request in list(self.requests) if request.error]

    @property
    def answers(self) -> Counter[str]:
        """How often each has answered."""
        return Counter(request.answer for request in list(self.requests) if not request.error)

    def since(self, moment: float) -> list[Request]:
        """Those that began at that time.monotonic() or later."""
        return [request for request in list(self.requests) if request.began >= moment]

    def await_count(self, count: int, seconds: float = 120.0) -> None:
        """Wait until so many are over, from the first one on."""
        until(lambda: self.count >= count, seconds, f"{count} requests")

    def await_more(self, count: int, seconds: float = 120.0) -> None:
        """Wait until so many are over that begin from now on."""
        now = time.monotonic()
        until(lambda: len(self.since(now)) >= count, seconds, f"{count} more requests")

    def await_answer(self, name: str, seconds: float = 30.0) -> Request:
        """Wait until a request that begins from now on is answered by that one."""
        now = time.monotonic()

        def look() -> Request | None:
            return next((each for each in self.since(now) if each.answer == name), None)

        return until(look, seconds, f"an answer of {name}")

    def read(self, process: subprocess.Popen[str]) -> None:
        """Take note of what the clients tell, to their end."""
        assert process.stdout
        for line in process.stdout:
            self.requests.append(Request(*json.loads(line)))


@contextmanager
def load(
    lab: Lab,
    address: str,
    port: int,
    *,
    udp: bool = False,
    clients: int = CLIENTS,
    patience_seconds: float = PATIENCE_SECONDS,
    pause_seconds: float = 0.0,
) -> Iterator[Load]:
    """Clients that ask meanwhile; at the end each waits for its last answer.

    After each answer a client pauses for `pause_seconds`.
    """
    numbers = (port, clients, patience_seconds, pause_seconds)
    what = ("udp" if udp else "tcp", address, *map(str, numbers))
    under = Load()
    with lab.popen_in_node(
        [sys.executable, "-m", "tests.e2e.load", *what],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        reading = threading.Thread(target=under.read, args=(process,), daemon=True)
        reading.start()
        try:
            under.await_count(1)
            yield under
        finally:
            process.stdin.close()
            try:
                code = process.wait(_END_SECONDS)
            except BaseException:
                process.kill()
                raise
            finally:
                reading.join()
    assert code == 0, "the clients have failed"


class _Answer(asyncio.DatagramProtocol):
    """The first datagram that comes."""

    def __init__(self) -> None:
        self.came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _addr: object) -> None:
        if not self.came.done():
            self.came.set_result(data)

    def error_received(self, error: Exception) -> None:
        if not self.came.done():
            self.came.set_exception(error)


async def _ask_tcp(address: str, port: int) -> str:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(_REQUEST)
        answer = await reader.read(-1)
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    fields = head.lower().split(b"\r\n")
    if (
        not fields[0].startswith(b"http/1.1 200 ")
        or b"content-length: %d" % len(body) not in fields
    ):
        raise OSError(f"no whole answer: {answer[:80]!r}")
    return str(json.loads(body)["name"])


async def _ask_udp(address: str, port: int) -> str:
    words = f"{time.monotonic()}".encode()
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(_Answer, remote_addr=(address, port))
    try:
        transport.sendto(words)
        answer = await protocol.came
    finally:
        transport.close()
    if not answer.endswith(words):
        raise OSError(f"another answer: {answer[:80]!r}")
    return answer.removesuffix(words).decode().strip()


async def _go_on(
    protocol: str, where: tuple[str, int], patience: float, pause: float, stop: asyncio.Event
) -> None:
    """One client."""
    ask = {"tcp": _ask_tcp, "udp": _ask_udp}[protocol]
    while not stop.is_set():
        answer, error, began = "", "", time.monotonic()
        try:
            async with asyncio.timeout(patience):
                answer = await ask(*where)
        except OSError as failure:
            error = str(failure) or type(failure).__name__
        print(json.dumps([began, time.monotonic(), answer, error]), flush=True)
        if error or pause:
            await asyncio.sleep(max(pause, _PAUSE_SECONDS if error else 0.0))


async def _main(protocol: str, address: str, *numbers: str) -> None:
    """Until the end of the input."""
    port, clients = map(int, numbers[:2])
    patience, pause = map(float, numbers[2:])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(_go_on(protocol, (address, port), patience, pause, stop))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
