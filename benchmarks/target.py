"""The program in the pod that is measured against: echo, sink and source of bytes.

The first byte on a connection chooses. The standard library only: it travels in the pod's
arguments. Run as `python3 target.py FIRST_PORT PORTS`.
"""

import contextlib
import select
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

ECHO, SINK, SOURCE = b"e", b"i", b"o"
END = b"."
"""Ends a sink or a source, which then closes: so that nobody closes while data is under way."""

REPORT = struct.Struct("!dQ")
"""What a sink says now and then: its clock in seconds, and how many bytes have come so far."""

REPORT_SECONDS = 0.05
CHUNK_BYTES = 256 * 1024


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
    work = {SINK: sink, SOURCE: source}.get(choice)
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


if __name__ == "__main__":
    main()
