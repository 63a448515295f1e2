"""A database at an address of no range of the cluster's, which only its node and pods reach."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lab import namespaces
from lab.cluster import Lab

PORT = 5432
HELLO = b"a database that only the cluster reaches\n"


@contextmanager
def serving(lab: Lab, address: str) -> Iterator[None]:
    """The database at one of its addresses; it says :data:`HELLO` and no more."""
    width = 128 if ":" in address else 32
    place = [f"{address}/{width}", "dev", "lo"]
    lab.run_in_node(["ip", "address", "add", *place, *(["nodad"] if width > 32 else [])])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = namespaces.call_inside(
        lab.layout.node_net, lambda: socket.create_server((address, PORT), family=family)
    )

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                with client:
                    client.sendall(HELLO)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
        lab.run_in_node(["ip", "address", "delete", *place])
