"""From where and to where the tests of the lab talk: pods, services and the two namespaces."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from dataclasses import dataclass

from lab import namespaces
from lab.cluster import Lab

FAMILIES = (4, 6)
SECONDS = 5.0
_DOMAINS = {4: socket.AF_INET, 6: socket.AF_INET6}


_CONNECT = f"""
import errno, socket, sys
try:
    socket.create_connection((sys.argv[1], sys.argv[2]), timeout={SECONDS})
    print("connected")
except TimeoutError:
    print("timeout")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@dataclass(frozen=True)
class Pod:
    """A running pod of the lab."""

    lab: Lab
    name: str
    addresses: dict[int, str]

    def python(self, program: str, *arguments: str) -> str:
        """What a Python program prints that runs in the pod."""
        argv = ("exec", "-i", self.name, "--", "python3", "-", *arguments)
        return self.lab.kubectl(*argv, stdin=program)

    def connect(self, address: str, port: int) -> str:
        """How connect() ends in the pod: 'connected', 'timeout' or the name of the error."""
        return self.python(_CONNECT, address, str(port)).strip()


def pods(lab: Lab, app: str) -> list[Pod]:
    """The pods of a workload in the namespace `default`."""
    return [
        Pod(lab, item["metadata"]["name"], _by_family(ip["ip"] for ip in item["status"]["podIPs"]))
        for item in lab.kubectl_json("pods", "-l", f"app={app}")["items"]
        if item["status"]["phase"] == "Running" and "deletionTimestamp" not in item["metadata"]
    ]


def service(lab: Lab, name: str, namespace: str = "default") -> dict[int, str]:
    """A service's addresses by family."""
    return _by_family(lab.kubectl_json("service", name, "-n", namespace)["spec"]["clusterIPs"])


@contextmanager
def connection(net, address, port, seconds=SECONDS):
    """A TCP connection from the network namespace `net`."""

    def connect() -> socket.socket:
        return socket.create_connection((address, port), timeout=seconds)

    with namespaces.call_inside(net, connect) as opened:
        yield opened


def exactly(opened: socket.socket, size: int) -> bytes:
    """The next bytes of a connection, or fewer at its end."""
    received = bytearray()
    while len(received) < size and (piece := opened.recv(size - len(received))):
        received += piece
    return bytes(received)


def datagram_answer(net, family, address, port, payload: bytes) -> bytes:
    """What comes back for a datagram."""

    def make() -> socket.socket:
        return socket.socket(_DOMAINS[family], socket.SOCK_DGRAM)

    with namespaces.call_inside(net, make) as opened:
        opened.settimeout(SECONDS)
        opened.sendto(payload, (address, port))
        return opened.recv(65536)


def http(net, address, port, request: bytes = b"GET / HTTP/1.0\r\n\r\n") -> dict:
    """The sample application's answer to a request that closes the connection."""
    with connection(net, address, port) as opened:
        opened.sendall(request)
        answer = b"".join(iter(lambda: opened.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), answer
    return json.loads(body)


def _by_family(addresses) -> dict[int, str]:
    return {6 if ":" in address else 4: address for address in addresses}
