"""Meshes of the lab's services, and what clients in the cluster get meanwhile."""

from __future__ import annotations

import http.server
import json
import queue
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from lab import namespaces
from lab.cluster import Lab
from tests.e2e import objects
from tests.e2e.laptop import Laptop
from tests.e2e.tow import Session, connected, starting
from tests.e2e.waiting import until

# kube-proxy looks at its work once a second.
SERVED_SECONDS = 20.0
_ASK_SECONDS = 10.0


def meshing(laptop: Laptop, *arguments: str) -> AbstractContextManager[Session]:
    return starting(laptop, *arguments, command="mesh")


def meshed(laptop: Laptop, *arguments: str) -> AbstractContextManager[Session]:
    return connected(laptop, *arguments, command="mesh")


@dataclass(frozen=True)
class Answer:
    """An answer of the sample application: who it is, its headers, and what it says."""

    name: str
    headers: dict[str, str]
    body: dict[str, Any]


def asked(
    lab: Lab,
    address: str,
    port: int = 80,
    path: str = "/",
    context: ssl.SSLContext | None = None,
    **headers: str,
) -> Answer:
    """What a client in the cluster gets for a request, by TLS if it has a context for that; the
    name is "" without an answer.

    Names of headers have `_` for `-`.
    """
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"GET {path} HTTP/1.1", "Host: web", "Connection: close", *lines])
    request = f"{head}\r\n\r\n".encode()

    def inside() -> bytes:
        with socket.create_connection((address, port), _ASK_SECONDS) as plain:
            secure = context.wrap_socket(plain, server_hostname="web") if context else plain
            with secure as client:
                client.sendall(request)
                return b"".join(iter(lambda: client.recv(1 << 16), b""))

    try:
        answer = namespaces.call_inside(lab.layout.node_net, inside)
    except OSError:
        return Answer("", {}, {})
    first, _, body = answer.partition(b"\r\n\r\n")
    if not first.startswith(b"HTTP/1.1 200"):
        return Answer("", {}, {})
    fields = [line.partition(": ") for line in first.decode().split("\r\n")[1:]]
    said = json.loads(body)
    return Answer(said["name"], {name.lower(): value for name, _, value in fields}, said)


def record_of(lab: Lab, service: str = "web", namespace: str = "default") -> dict[str, Any]:
    """What the service says of its mesh."""
    found = lab.kubectl_json("service", service, "-n", namespace)
    record: dict[str, Any] = json.loads(found["metadata"]["annotations"]["towline/interception"])
    return record


def await_answers(
    lab: Lab,
    wanted: str,
    addresses: Sequence[str] = (),
    seconds: float = SERVED_SECONDS,
    **headers: str,
) -> Answer:
    """Wait until such requests get their answers from who is wanted, at all addresses: by default
    those of the service web.
    """
    addresses = addresses or objects.addresses_of_service(lab, "web")

    def look() -> Answer | None:
        found = [asked(lab, address, **headers) for address in addresses]
        return found[0] if all(each.name == wanted for each in found) else None

    return until(look, seconds, f"answers of {wanted!r} to {headers}")


class Recorder:
    """A program of the laptop that notes the paths of the requests that it gets."""

    def __init__(self, laptop: Laptop) -> None:
        self.heard: queue.Queue[str] = queue.Queue()
        heard = self.heard

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                heard.put(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing is shown."""

        self.server = laptop.call(
            lambda: http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        )
        self.port: int = self.server.server_address[1]


@contextmanager
def recorder(laptop: Laptop) -> Iterator[Recorder]:
    """One that runs meanwhile."""
    made = Recorder(laptop)
    threading.Thread(target=made.server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
