"""The program in the pod that is measured against: echo, sink and source of bytes and datagrams.

The first byte on a connection chooses. The standard library only: it travels in the pod's
arguments. Run as `python3 target.py FIRST_PORT PORTS`.
"""

import contextlib
import itertools
import json
import select
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ECHO, SINK, SOURCE, DATAGRAMS, LOOKUPS = b"e", b"i", b"o", b"d", b"l"
END = b"."
"""Ends a sink or a source, which then closes: so that nobody closes while data is under way."""

REPORT = struct.Struct("!dQ")
"""What a sink says now and then: its clock in seconds, and how many bytes have come so far."""

REPORT_SECONDS = 0.05
CHUNK_BYTES = 256 * 1024

LARGEST_DATAGRAM = 65535
# What has not come after so long counts as lost.
LOST_SECONDS = 0.5
# Datagrams leave in bunches so far apart.
_BUNCH_SECONDS = 0.001


def main() -> None:
    first, count = int(sys.argv[1]), int(sys.argv[2])
    loop = selectors.DefaultSelector()
    for port in range(first, first + count):
        listener = socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512
        )
        loop.register(listener, selectors.EVENT_READ, partial(accept, loop, listener))
    while True:
        for key, _ in loop.select():
            react: Callable[[], None] = key.data
            react()


def accept(loop: selectors.BaseSelector, listener: socket.socket) -> None:
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    loop.register(connection, selectors.EVENT_READ, partial(choose, loop, connection))


def choose(loop: selectors.BaseSelector, connection: socket.socket) -> None:
    """Do what the first byte asks for: echo here, what takes long in a thread of its own."""
    with contextlib.suppress(OSError):
        choice = connection.recv(1)
        if choice == ECHO:
            react = partial(echo, loop, connection)
            loop.modify(connection, selectors.EVENT_READ, react)
            react()
            return
    loop.unregister(connection)
    work = {SINK: sink, SOURCE: source, DATAGRAMS: datagrams, LOOKUPS: lookups}.get(choice)
    if work:
        threading.Thread(target=serve, args=(work, connection), daemon=True).start()
    else:
        connection.close()


def echo(loop: selectors.BaseSelector, connection: socket.socket) -> None:
    try:
        data = connection.recv(65536, socket.MSG_DONTWAIT)
        if data:
            connection.sendall(data)
            return
    except BlockingIOError:
        return  # nothing yet behind the first byte
    except OSError:
        pass  # the client has gone
    loop.unregister(connection)
    connection.close()


def serve(work: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with contextlib.suppress(OSError), connection:
        work(connection)


def sink(connection: socket.socket) -> None:
    """Swallow zeros and report their count, until another byte comes: that is the end."""
    buffer = bytearray(CHUNK_BYTES)
    size, total, due = 0, 0, 0.0
    connection.settimeout(REPORT_SECONDS)
    while not (size and buffer[size - 1]):
        with contextlib.suppress(TimeoutError):
            size = connection.recv_into(buffer)
            if not size:
                return
            total += size
        now = time.monotonic()
        if now >= due:
            connection.sendall(REPORT.pack(now, total))
            due = now + REPORT_SECONDS


def source(connection: socket.socket) -> None:
    """Send until the client says a word."""
    chunk = bytes(CHUNK_BYTES)
    while not select.select([connection], [], [], 0)[0]:
        connection.sendall(chunk)
    connection.recv(1)  # closing with a byte unread would be a reset


def datagrams(connection: socket.socket) -> None:
    """Return datagrams that come to a port of their own, which the client is told.

    When the client says so, count those of a size from then on, until it says another word; or send
    to whom it was heard from last.
    """
    with (
        connection.makefile("r") as words,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as own,
    ):
        own.bind(("::", 0))
        tell(connection, own.getsockname()[1])
        client = return_datagrams(own, connection)
        if line := words.readline():
            wish = json.loads(line)
            if "count" in wish:
                tell(connection, count_datagrams(own, wish["count"], connection))
            else:
                own.connect(client)
                tell(connection, send_datagrams(own.send, **wish))


def return_datagrams(own: socket.socket, connection: socket.socket) -> Any:
    """Until the client says something; gives where the last one came from."""
    client = None
    while True:
        ready = select.select([own, connection], [], [])[0]
        if connection in ready:
            return client
        data, client = own.recvfrom(LARGEST_DATAGRAM)
        with contextlib.suppress(OSError):
            own.sendto(data, client)


def count_datagrams(own: socket.socket, size: int, connection: socket.socket) -> int:
    """How many of that size come until there is something to read on the connection."""
    came = 0
    own.settimeout(REPORT_SECONDS)
    while not select.select([connection], [], [], 0)[0]:
        with contextlib.suppress(TimeoutError):
            while True:
                came += len(own.recv(LARGEST_DATAGRAM)) == size
    return came


def send_datagrams(
    send: Callable[[bytes], object], size: int, rate: float, seconds: float
) -> list[float]:
    """Send as many in a second; gives how many these were, and in how many seconds."""
    data, sent = bytes(size), 0
    began = now = time.monotonic()
    while now < began + seconds:
        due = (now - began) * rate
        while sent < due:
            with contextlib.suppress(OSError):
                send(data)
            sent += 1
        time.sleep(_BUNCH_SECONDS)
        now = time.monotonic()
    return [sent, now - began]


def lookups(connection: socket.socket) -> None:
    """Look a name up here as a line says, and say how it went."""
    with connection.makefile("r") as words:
        tell(connection, look_up(**json.loads(words.readline())))


def look_up(name: str, seconds: float, at_once: int) -> dict[str, Any]:
    """Ask this machine's nameserver for a name's IPv4 address, so many times at once.

    Gives the `seconds` that each answer took, and how many were `lost`.
    """
    spellings = 1 if at_once == 1 else 2 * at_once
    questions = [question(spelt(name, number)) for number in range(spellings)]
    took: list[float] = []
    waiting: dict[int, float] = {}
    lost, numbers = 0, itertools.cycle(range(1 << 16))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect((nameserver(), 53))
        asking.settimeout(LOST_SECONDS)
        end = time.monotonic() + seconds
        while True:
            while len(waiting) < at_once and time.monotonic() < end:
                number = next(numbers)
                waiting[number] = time.perf_counter()
                asking.send(struct.pack("!H", number) + questions[number % spellings])
            if not waiting:
                return {"seconds": took, "lost": lost}
            try:
                number, flags = struct.unpack("!2H", asking.recv(LARGEST_DATAGRAM)[:4])
            except TimeoutError:
                lost += len(waiting)
                waiting.clear()
                continue
            if flags & 0xF:
                raise OSError(f"the nameserver says {flags & 0xF} of {name}")
            if number in waiting:
                took.append(time.perf_counter() - waiting.pop(number))


def spelt(name: str, number: int) -> str:
    """The same name in other letters: who is asked for one twice at once need not ask twice."""
    letters = (
        letter.upper() if number >> place & 1 else letter for place, letter in enumerate(name)
    )
    return "".join(letters)


def question(name: str) -> bytes:
    """A query for a name's IPv4 address (RFC 1035 §4.1) behind its id."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!5H", 0x0100, 1, 0, 0, 0) + labels + struct.pack("!B2H", 0, 1, 1)


def nameserver() -> str:
    """The first one of this machine or pod."""
    lines = Path("/etc/resolv.conf").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("nameserver"))


def tell(connection: socket.socket, value: object) -> None:
    """Say something in a line of JSON."""
    connection.sendall(json.dumps(value).encode() + b"\n")


if __name__ == "__main__":
    main()
