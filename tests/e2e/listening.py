"""Programs of the laptop that note what they are told."""

from __future__ import annotations

import queue
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.e2e.laptop import Laptop


class Listener:
    """A program of the laptop that notes what each client says, to its end; None if cut off.

    It answers, too. It reads while `reading` is set.
    """

    def __init__(self, laptop: Laptop, port: int = 0) -> None:
        self.heard: queue.Queue[bytes | None] = queue.Queue()
        self.reading = threading.Event()
        self.reading.set()
        self.came = threading.Event()
        self._clients: list[socket.socket] = []
        self._listening = laptop.call(lambda: socket.create_server(("127.0.0.1", port)))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def die(self) -> None:
        """End as a program does that is killed: clients get an RST."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for client in self._clients:
            with suppress(OSError):  # it has ended by itself
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # What waits in recv() would keep the socket.
                client.shutdown(socket.SHUT_RD)
        self.reading.set()

    def _serve(self) -> None:
        try:
            while True:
                client, _ = self._listening.accept()
                self._clients.append(client)
                self.came.set()
                threading.Thread(target=self._hear, args=(client,), daemon=True).start()
        except OSError:
            return

    def _hear(self, client: socket.socket) -> None:
        said = bytearray()
        try:
            with client:
                client.sendall(b"nobody hears this")
                while self.reading.wait() and (data := client.recv(1 << 20)):
                    said += data
        except OSError:
            self.heard.put(None)
        else:
            self.heard.put(bytes(said))


@contextmanager
def listener(laptop: Laptop, port: int = 0) -> Iterator[Listener]:
    made = Listener(laptop, port)
    try:
        yield made
    finally:
        with suppress(OSError):
            made.die()
