"""Programs of the laptop that answer, and clients in the cluster that ask them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lab import namespaces
from lab.cluster import Lab
from tests.e2e.laptop import Laptop


class Program:
    """A program of the laptop: it tells its name, then gives back in capitals what it gets."""

    def __init__(self, laptop: Laptop, name: str, port: int = 0) -> None:
        self.name = name
        self._listening = laptop.call(
            lambda: socket.create_server(("::1", port), family=socket.AF_INET6)
        )
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        # What waits in accept() would keep the socket.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        try:
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._converse, args=(client,), daemon=True).start()
        except OSError:
            return

    def _converse(self, client: socket.socket) -> None:
        try:
            with client:
                client.sendall(self.name.encode())
                while data := client.recv(1 << 16):
                    client.sendall(data.upper())
        except OSError:
            return


@contextmanager
def program(laptop: Laptop, name: str = "here", port: int = 0) -> Iterator[Program]:
    made = Program(laptop, name, port)
    try:
        yield made
    finally:
        made.close()


def ask(lab: Lab, address: str, port: int, words: bytes = b"hello") -> bytes:
    """What a client in the cluster gets, to the end; raises OSError."""

    def inside() -> bytes:
        with socket.create_connection((address, port), timeout=5) as client:
            client.settimeout(20)
            client.sendall(words)
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := client.recv(1 << 16):
                answer += piece
            return answer

    return namespaces.call_inside(lab.layout.node_net, inside)


def answers(lab: Lab, address: str, port: int, words: bytes = b"hello") -> bytes:
    """The same; nothing if that fails."""
    try:
        return ask(lab, address, port, words)
    except OSError:
        return b""
