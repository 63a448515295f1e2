"""Ways to the API server other than straight: a proxy that wants a password, and a path below
another server, as Rancher has it. Both are on the laptop's loopback.
"""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from lab.cluster import Lab
from lab.network import API_PORT, NODE_V4
from tests.e2e import apiserver
from tests.e2e.laptop import Laptop

PREFIX = "/k8s/clusters/c-m-1"

_BYTES = 64 * 1024
_LONGEST_HEAD = 64 * 1024


class Proxy:
    """`url` is with the password, `targets` are what it was asked to connect to."""

    def __init__(self, port: int) -> None:
        self.url = f"http://ada:secret@127.0.0.1:{port}"
        self.targets: list[str] = []


@contextmanager
def connect_proxy(laptop: Laptop) -> Iterator[Proxy]:
    """A proxy that connects (RFC 9110, section 9.3.6) whoever knows its password."""
    allowed = b"proxy-authorization: basic " + base64.b64encode(b"ada:secret").lower()

    def serve(client: socket.socket) -> None:
        head, _ = _read_head(client)
        method, target = head.split()[:2]
        if method != b"CONNECT" or allowed not in head.lower():
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        proxy.targets.append(target.decode())
        host, _, port = target.decode().rpartition(":")
        with laptop.connect_to(host, int(port)) as server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            _splice(client, server)

    with _listening(laptop, serve) as port:
        proxy = Proxy(port)
        yield proxy


@contextmanager
def path_prefix(lab: Lab, laptop: Laptop, user: str) -> Iterator[str]:
    """The URL of a server below which the API is, there for whoever asks as that user."""
    tls = apiserver.tls_context(lab, user)

    def serve(client: socket.socket) -> None:
        head, rest = _read_head(client)
        line, _, fields = head.partition(b"\r\n")
        method, path, version = line.split()
        if not path.startswith(PREFIX.encode() + b"/"):
            client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        if b"upgrade: websocket" not in fields.lower():
            # One request a connection.
            fields = b"Connection: close\r\n" + fields
        line = b" ".join((method, path.removeprefix(PREFIX.encode()), version))
        raw = laptop.connect_to(NODE_V4, API_PORT)
        with tls.wrap_socket(raw, server_hostname=NODE_V4) as server:
            server.sendall(line + b"\r\n" + fields + rest)
            _splice(client, server)

    with _listening(laptop, serve) as port:
        yield f"http://127.0.0.1:{port}{PREFIX}"


@contextmanager
def _listening(laptop: Laptop, serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port on the laptop where each connection is served, by a thread of its own."""
    listener = laptop.call(lambda: socket.create_server(("127.0.0.1", 0)))

    def one(client: socket.socket) -> None:
        with client, suppress(OSError):
            serve(client)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=one, args=(client,), daemon=True).start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        listener.close()


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """A request's line and fields, with the blank line, and what came behind."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(_BYTES)
        if not piece or len(data) > _LONGEST_HEAD:
            raise ConnectionError
        data += piece
    head, blank, rest = data.partition(b"\r\n\r\n")
    return head + blank, rest


def _splice(one: socket.socket, other: socket.socket | ssl.SSLSocket) -> None:
    """Copy both ways until either has ended."""
    for each in (one, other):
        each.settimeout(None)
    back = threading.Thread(target=_copy, args=(other, one), daemon=True)
    back.start()
    _copy(one, other)
    back.join()


def _copy(of: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while data := of.recv(_BYTES):
            to.sendall(data)
    for each in (of, to):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
