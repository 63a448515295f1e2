"""Programs of the laptop that answer, and clients in the cluster that ask them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

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


class UdpProgram:
    """The same with datagrams, on an address of the loopback."""

    def __init__(self, laptop: Laptop, name: str, address: str, port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._bound = laptop.call(lambda: socket.socket(family, socket.SOCK_DGRAM))
        self._bound.bind((address, port))
        self.port = self._bound.getsockname()[1]
        self._name = name.encode()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        # It wakes what waits for a datagram, although it is no connection.
        with suppress(OSError):
            self._bound.shutdown(socket.SHUT_RDWR)
        self._bound.close()

    def _serve(self) -> None:
        try:
            while True:
                datagram, client = self._bound.recvfrom(1 << 16)
                if client is None or not client[1]:
                    return
                self._bound.sendto(self._name + datagram.upper(), client)
        except (OSError, TypeError):
            return


@contextmanager
def udp_program(laptop: Laptop, name: str, address: str, port: int = 0) -> Iterator[UdpProgram]:
    made = UdpProgram(laptop, name, address, port)
    try:
        yield made
    finally:
        made.close()


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


def ask_udp(lab: Lab, address: str, port: int, words: bytes = b"hello") -> bytes:
    """What a client in the cluster is answered within a second; nothing without an answer."""

    def inside() -> bytes:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(1)
            client.connect((address, port))
            try:
                client.send(words)
                return client.recv(1 << 16)
            except OSError:
                return b""

    return namespaces.call_inside(lab.layout.node_net, inside)


def answers(lab: Lab, address: str, port: int, words: bytes = b"hello") -> bytes:
    """The same; nothing if that fails."""
    try:
        return ask(lab, address, port, words)
    except OSError:
        return b""
