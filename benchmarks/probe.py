"""The client of the target: one measurement, its figures as JSON on stdout.

    python -m benchmarks.probe up|down HOST PORT --seconds S --flows N --warmup W
    python -m benchmarks.probe send|fetch HOST PORT --size BYTES
    python -m benchmarks.probe echo HOST PORT --seconds S
    python -m benchmarks.probe connect HOST PORT [PORT...] --seconds S
    python -m benchmarks.probe many HOST PORT [PORT...] --count N --flows N
    python -m benchmarks.probe requests|connections HOST PORT --seconds S --flows N
    python -m benchmarks.probe lookup NAME --seconds S
    python -m benchmarks.probe look_up|look_up_there HOST PORT --name NAME --seconds S --flows N
    python -m benchmarks.probe datagrams_up|datagrams_down HOST PORT --size BYTES --rate N
    python -m benchmarks.probe datagrams_echo HOST PORT --seconds S --size BYTES
    python -m benchmarks.probe hold HOST PORT --flows N

It is a process of its own, so that it runs in the network namespace that is measured from.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import signal
import socket
import threading
import time
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import NoReturn

from benchmarks import datagrams
from benchmarks.target import CHUNK_BYTES, ECHO, END, REPORT, SINK, SOURCE, look_up

Address = tuple[str, int]

PING = b"x" * 64
TIMEOUT_SECONDS = 20.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("measure", choices=MEASURES)
    parser.add_argument("host")
    parser.add_argument("ports", type=int, nargs="*")
    parser.add_argument("--name", default="")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--warmup", type=float, default=0.0)
    parser.add_argument("--flows", type=int, default=1)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--size", type=int, default=len(PING))
    parser.add_argument("--rate", type=float, default=1.0)
    chosen = parser.parse_args()
    chosen.address = (chosen.host, *chosen.ports[:1])
    # As many connections as the kernel lets it have.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(MEASURES[chosen.measure](chosen)))


def echo(address: Address, seconds: float) -> list[float]:
    """Round trips of 64 bytes on one connection, in seconds."""
    samples: list[float] = []
    with _open(address, ECHO) as connection:
        _round_trip(connection)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            began = time.perf_counter()
            _round_trip(connection)
            samples.append(time.perf_counter() - began)
    return samples


def lookup(name: str, seconds: float) -> list[float]:
    """Times of lookups of a name by the C library, whatever comes of them, in seconds."""
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        with suppress(socket.gaierror):
            socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        samples.append(time.perf_counter() - began)
    return samples


def connect(host: str, ports: list[int], seconds: float) -> list[float]:
    """Times of a new connection with one round trip on it, in seconds.

    One for each of several ports, which are new to whatever is in between; with one port, as
    many as there is time for, after one that is not counted.
    """
    samples: list[float] = []
    if len(ports) > 1:
        return [_connect_once((host, port)) for port in ports]
    _connect_once((host, ports[0]))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        samples.append(_connect_once((host, ports[0])))
    return samples


def rate(address: Address, clients: int, seconds: float, *, keep: bool) -> float:
    """How many requests of 64 bytes are answered in a second, to several clients together.

    With `keep` a client asks on one connection, else on a new one each time.
    """
    end = time.perf_counter() + seconds

    def ask() -> int:
        count = 0
        with ExitStack() as stack:
            kept = stack.enter_context(_open(address, ECHO)) if keep else None
            while time.perf_counter() < end:
                if kept is None:
                    _connect_once(address)
                else:
                    _round_trip(kept)
                count += 1
        return count

    with ThreadPoolExecutor(clients) as pool:
        counts = [pool.submit(ask) for _ in range(clients)]
        return sum(count.result() for count in counts) / seconds


def many(host: str, ports: list[int], count: int, clients: int) -> list[float]:
    """Make so many connections with one round trip on each, some at the same time, to the ports in
    turns: the kernel keeps a port of ours for each of them for a minute. Gives the seconds that all
    of it took, and how many were lost.
    """
    numbers = itertools.count()

    def make() -> int:
        lost = 0
        while (number := next(numbers)) < count:
            try:
                _connect_once((host, ports[number % len(ports)]))
            except OSError:
                lost += 1
        return lost

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        lost = sum([made.result() for made in [pool.submit(make) for _ in range(clients)]])
    return [time.perf_counter() - began, lost]


def hold(address: Address, count: int) -> NoReturn:
    """Keep connections open on which something has been said, until SIGTERM; say when they are."""
    with ExitStack() as stack:
        for _ in range(count):
            _round_trip(stack.enter_context(_open(address, ECHO)))
        print(json.dumps(count), flush=True)
        while True:
            signal.pause()


def bulk(
    flow: Callable[[Address, threading.Barrier, float, float], float],
    address: Address,
    flows: int,
    warmup: float,
    seconds: float,
) -> float:
    """The rate of all flows together, in bytes per second."""
    barrier = threading.Barrier(flows)
    with ThreadPoolExecutor(flows) as pool:
        rates = [pool.submit(flow, address, barrier, warmup, seconds) for _ in range(flows)]
        return sum(rate.result() for rate in rates)


def up(address: Address, barrier: threading.Barrier, warmup: float, seconds: float) -> float:
    """Bytes per second that come to the sink, by its own clock."""
    with _open(address, SINK) as connection:
        barrier.wait()
        stop = threading.Event()
        with ThreadPoolExecutor(1) as thread:
            thread.submit(_send, connection, stop)
            first, _ = _report_after(connection, 0)
            began, before = _report_after(connection, first + warmup)
            ended, after = _report_after(connection, began + seconds)
            stop.set()
        _drain(connection)
    return (after - before) / (ended - began)


def down(address: Address, barrier: threading.Barrier, warmup: float, seconds: float) -> float:
    """Bytes per second that come from the source."""
    with _open(address, SOURCE) as connection:
        barrier.wait()
        _receive_for(connection, warmup)
        began = time.perf_counter()
        size = _receive_for(connection, seconds)
        rate = size / (time.perf_counter() - began)
        _drain(connection)
    return rate


def send(address: Address, size: int) -> int:
    """Bring so many bytes to the sink, all of them; gives how many these were."""
    sent = 0
    with _open(address, SINK) as connection:
        chunk = bytes(CHUNK_BYTES)
        while sent < size:
            connection.sendall(chunk)
            sent += len(chunk)
        _drain(connection)
    return sent


def fetch(address: Address, size: int) -> int:
    """Get so many bytes from the source, or some more; gives how many these were."""
    got = 0
    with _open(address, SOURCE) as connection:
        buffer = bytearray(CHUNK_BYTES)
        while got < size:
            got += connection.recv_into(buffer)
        return got + _drain(connection)


def _drain(connection: socket.socket) -> int:
    """End the work of the other side, and wait until nothing of it is under way.

    Gives how many bytes were.
    """
    buffer, got = bytearray(CHUNK_BYTES), 0
    connection.sendall(END)
    while size := connection.recv_into(buffer):
        got += size
    return got


def _send(connection: socket.socket, stop: threading.Event) -> None:
    chunk = bytes(CHUNK_BYTES)
    while not stop.is_set():
        connection.sendall(chunk)


def _report_after(connection: socket.socket, moment: float) -> tuple[float, int]:
    """The sink's first report of `moment`, by its clock, or later."""
    while True:
        clock, total = REPORT.unpack(_exactly(connection, REPORT.size))
        if clock >= moment:
            return clock, total


def _receive_for(connection: socket.socket, seconds: float) -> int:
    buffer = bytearray(CHUNK_BYTES)
    end, total = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        size = connection.recv_into(buffer)
        if not size:
            raise ConnectionError("the source has ended")
        total += size
    return total


def _connect_once(address: Address) -> float:
    began = time.perf_counter()
    with socket.create_connection(address, timeout=TIMEOUT_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(ECHO + PING)
        _exactly(connection, len(PING))
        return time.perf_counter() - began


def _round_trip(connection: socket.socket) -> None:
    connection.sendall(PING)
    _exactly(connection, len(PING))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionError("the connection was closed")
        data += piece
    return data


def _open(address: Address, choice: bytes) -> socket.socket:
    connection = socket.create_connection(address, timeout=TIMEOUT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(choice)
    return connection


MEASURES: dict[str, Callable[[Namespace], object]] = {
    "up": lambda asked: bulk(up, asked.address, asked.flows, asked.warmup, asked.seconds),
    "down": lambda asked: bulk(down, asked.address, asked.flows, asked.warmup, asked.seconds),
    "send": lambda asked: send(asked.address, asked.size),
    "fetch": lambda asked: fetch(asked.address, asked.size),
    "echo": lambda asked: echo(asked.address, asked.seconds),
    "connect": lambda asked: connect(asked.host, asked.ports, asked.seconds),
    "many": lambda asked: many(asked.host, asked.ports, asked.count, asked.flows),
    "requests": lambda asked: rate(asked.address, asked.flows, asked.seconds, keep=True),
    "connections": lambda asked: rate(asked.address, asked.flows, asked.seconds, keep=False),
    "lookup": lambda asked: lookup(asked.host, asked.seconds),
    "look_up": lambda asked: look_up(asked.name, asked.seconds, asked.flows),
    "look_up_there": lambda asked: datagrams.look_up_there(
        asked.address, asked.name, asked.seconds, asked.flows
    ),
    "datagrams_up": lambda asked: datagrams.up(
        asked.address, asked.size, asked.rate, asked.seconds
    ),
    "datagrams_down": lambda asked: datagrams.down(
        asked.address, asked.size, asked.rate, asked.seconds
    ),
    "datagrams_echo": lambda asked: datagrams.echo(asked.address, asked.size, asked.seconds),
    "hold": lambda asked: hold(asked.address, asked.flows),
}

if __name__ == "__main__":
    main()
