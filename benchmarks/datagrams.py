"""The client of the target by UDP, beside a connection on which the two agree what to do."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TextIO

from benchmarks.target import (
    DATAGRAMS,
    END,
    LARGEST_DATAGRAM,
    LOOKUPS,
    LOST_SECONDS,
    count_datagrams,
    send_datagrams,
    tell,
)

Address = tuple[str, int]

CONNECTION_SECONDS = 20.0
# The first datagram finds no way that is there already, and may be lost.
_GREETING = b"hello"
_GREETING_SECONDS = 0.2
_GREETINGS = 50


def up(address: Address, size: int, rate: float, seconds: float) -> list[float]:
    """How many datagrams left in how many seconds, and how many of them came there."""
    with _flow(address) as flow:
        flow.say({"count": size})
        # What has been said is there before the first of them.
        time.sleep(LOST_SECONDS / 4)
        sent, took = send_datagrams(flow.own.send, size, rate, seconds)
        time.sleep(LOST_SECONDS)
        flow.connection.sendall(END)
        return [sent, took, flow.hear()]


def down(address: Address, size: int, rate: float, seconds: float) -> list[float]:
    """The same of those that the target sends and that come here."""
    with _flow(address) as flow:
        flow.say({"size": size, "rate": rate, "seconds": seconds})
        came = count_datagrams(flow.own, size, flow.connection)
        sent, took = flow.hear()
        flow.own.settimeout(LOST_SECONDS)
        with suppress(TimeoutError):
            while True:
                came += len(flow.own.recv(LARGEST_DATAGRAM)) == size
        return [sent, took, came]


def echo(address: Address, size: int, seconds: float) -> list[float]:
    """Round trips of datagrams, one at a time, of those that come back."""
    samples: list[float] = []
    data = bytes(size)
    with _flow(address) as flow:
        flow.own.settimeout(LOST_SECONDS)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            began = time.perf_counter()
            flow.own.send(data)
            with suppress(TimeoutError):
                flow.own.recv(LARGEST_DATAGRAM)
                samples.append(time.perf_counter() - began)
    return samples


def look_up_there(address: Address, name: str, seconds: float, at_once: int) -> dict[str, Any]:
    """Let the target look up a name where it is."""
    with _agreed(address, LOOKUPS) as connection, connection.makefile("r") as words:
        connection.settimeout(CONNECTION_SECONDS + seconds)
        tell(connection, {"name": name, "seconds": seconds, "at_once": at_once})
        found: dict[str, Any] = json.loads(words.readline())
        return found


@dataclass(frozen=True, slots=True)
class _Flow:
    """A socket whose datagrams come to the target and back, and the connection beside it."""

    connection: socket.socket
    words: TextIO
    own: socket.socket

    def say(self, value: object) -> None:
        tell(self.connection, value)

    def hear(self) -> Any:
        return json.loads(self.words.readline())


@contextmanager
def _flow(address: Address) -> Iterator[_Flow]:
    with (
        _agreed(address, DATAGRAMS) as connection,
        connection.makefile("r") as words,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own,
    ):
        own.connect((address[0], json.loads(words.readline())))
        _greet(own)
        yield _Flow(connection, words, own)


def _greet(own: socket.socket) -> None:
    """Return when the way is there and nothing of this is under way any more."""
    own.settimeout(_GREETING_SECONDS)
    for _ in range(_GREETINGS):
        own.send(_GREETING)
        with suppress(TimeoutError):
            own.recv(LARGEST_DATAGRAM)
            break
    else:
        raise ConnectionError("no datagram comes back")
    with suppress(TimeoutError):
        while True:
            own.recv(LARGEST_DATAGRAM)


def _agreed(address: Address, choice: bytes) -> socket.socket:
    connection = socket.create_connection(address, timeout=CONNECTION_SECONDS)
    connection.sendall(choice)
    return connection
