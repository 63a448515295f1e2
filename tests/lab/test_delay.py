"""The proxy that delays: everything arrives, in order, and later."""

from __future__ import annotations

import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab import progress

RTT_SECONDS = 0.06
LOCAL = "127.0.0.1"


class Echo(socketserver.BaseRequestHandler):
    """Echoes until the end of input, then says how much it was."""

    def handle(self) -> None:
        total = 0
        while data := self.request.recv(65536):
            total += len(data)
            self.request.sendall(data)
        self.request.sendall(b"%d" % total)


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind((LOCAL, 0))
        return chosen.getsockname()[1]


@contextmanager
def proxy(target: int) -> Iterator[int]:
    """The port of a proxy in front of the target port."""
    port = free_port()
    numbers = (str(port), str(target), str(int(RTT_SECONDS * 1000)))

    def listens() -> bool:
        with socket.socket() as tried:
            return tried.connect_ex((LOCAL, port)) == 0

    with subprocess.Popen([sys.executable, "-m", "lab.delay", LOCAL, *numbers]) as process:
        progress.wait_for("the proxy", listens, 20, "")
        yield port
        process.terminate()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a proxy in front of an echo server."""
    with socketserver.ThreadingTCPServer((LOCAL, 0), Echo) as server:
        threading.Thread(target=server.serve_forever).start()
        with proxy(server.server_address[1]) as made:
            yield made
        server.shutdown()


@pytest.fixture
def connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection((LOCAL, port), timeout=20) as opened:
        yield opened


def test_everything_arrives_and_half_close_too(connection):
    payload = bytes(range(256)) * 40_000

    def send() -> None:
        connection.sendall(payload)
        connection.shutdown(socket.SHUT_WR)

    sending = threading.Thread(target=send)
    sending.start()
    received = b"".join(iter(lambda: connection.recv(1 << 20), b""))
    sending.join()
    assert received == payload + b"%d" % len(payload)


def test_round_trip_takes_its_time(connection):
    connection.sendall(b"1")
    connection.recv(1)
    began = time.monotonic()
    connection.sendall(b"2")
    connection.recv(1)
    assert time.monotonic() - began >= RTT_SECONDS


def test_first_answer_waits_for_the_handshake_also(port):
    began = time.monotonic()
    with socket.create_connection((LOCAL, port), timeout=20) as opened:
        opened.sendall(b"1")
        opened.recv(1)
    assert time.monotonic() - began >= 2 * RTT_SECONDS


def test_nobody_there_ends_the_connection():
    with proxy(free_port()) as port, socket.create_connection((LOCAL, port), timeout=20) as opened:
        assert opened.recv(1) == b""
