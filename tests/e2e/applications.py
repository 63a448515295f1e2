"""The sample application (lab/sample) as a program of the laptop, and what its answers say."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lab import namespaces
from lab.cluster import Lab
from tests.e2e.laptop import Laptop
from tests.e2e.waiting import until

_START_SECONDS = 15.0
_ASK_SECONDS = 5.0


@contextmanager
def local_application(laptop: Laptop, name: str = "here", offset: int = 0) -> Iterator[int]:
    """It runs meanwhile, on its usual ports and `offset`; gives the first of the HTTP ports."""
    port = 8080 + offset
    environment = laptop.environment(NAME=name, PORT_OFFSET=str(offset))
    process = laptop.start([sys.executable, "-m", "lab.sample"], environment)

    def listens() -> bool:
        assert process.poll() is None, "the application has ended"
        with suppress(OSError):
            laptop.connect_to("127.0.0.1", port).close()
            return True
        return False

    try:
        until(listens, _START_SECONDS, "the application to listen")
        yield port
    finally:
        process.terminate()
        try:
            process.wait(_ASK_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ask(lab: Lab, address: str, port: int, request: bytes = b"GET / HTTP/1.0\r\n\r\n") -> Any:
    """What the application says in JSON to a client on the node, over a connection of its own.

    Raises OSError.
    """

    def inside() -> bytes:
        with socket.create_connection((address, port), _ASK_SECONDS) as client:
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(1 << 16), b""))

    answer = namespaces.call_inside(lab.layout.node_net, inside)
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise OSError(f"no answer of HTTP: {answer[:80]!r}")
    return json.loads(body)


def ask_by_datagram(lab: Lab, address: str, port: int, words: bytes = b"hello") -> bytes:
    """What comes back for a datagram from the node. Raises OSError."""

    def inside() -> bytes:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(_ASK_SECONDS)
            client.connect((address, port))
            client.send(words)
            return client.recv(1 << 16)

    return namespaces.call_inside(lab.layout.node_net, inside)


def name_of_answer(lab: Lab, address: str, port: int) -> str:
    """Who answers over HTTP; "" when nobody does."""
    with suppress(OSError):
        return str(ask(lab, address, port)["name"])
    return ""


def probes_of(lab: Lab, pod: str, namespace: str = "default", container: str = "") -> list[Any]:
    """What the application in a pod has noted down of the kubelet's probes: `probe` (`http` or
    `tcp`), `port`, `path`, `client` of each, oldest first.
    """
    which = ("-c", container) if container else ()
    text = lab.kubectl("logs", pod, "-n", namespace, *which)
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"probe"')]
