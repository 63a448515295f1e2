"""A connection through a session to what sends back all that it hears, and its way there."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Self

from lab import network
from tests.e2e import objects
from tests.e2e.laptop import Laptop
from tests.e2e.waiting import until

PORT = 7000
SECONDS = 30.0
# A flow whose transport falls silent pauses for longer.
PAUSE_SECONDS = 2.0
# So much more than else goes on in a link tells which of its transports it has gone by.
_MUCH = 300_000
_CONNECTION = re.compile(r"^\S+\s+\S+\s+\S+:(\d+)\s.*?\bbytes_received:(\d+)", re.MULTILINE)


class Echo:
    """A connection of a program; it waits no longer than SECONDS for anything.

    `where` is a port that is forwarded there, if it is not by the service's address.
    """

    def __init__(self, laptop: Laptop, where: tuple[str, int] | None = None) -> None:
        self._laptop = laptop
        service = objects.addresses_of_service(laptop.lab, "sample")[0]
        self.client = laptop.connect_to(*(where or (service, PORT)), SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def talk(self, size: int = 1) -> None:
        """Say so many bytes, and hear them."""
        self.client.sendall(bytes(size))
        while size > 0:
            heard = len(self.client.recv(min(size, 1 << 16)))
            assert heard > 0, "the end instead of what was said"
            size -= heard

    def await_reset(self) -> None:
        """Hear of the end although nothing is said."""
        with suppress(ConnectionResetError):
            assert self.client.recv(1) == b""

    def transport(self) -> int:
        """The laptop's port of the session's connection to the API server by which this goes."""
        before = _received(self._laptop)
        self.talk(_MUCH)
        after = _received(self._laptop)
        (port,) = [port for port, size in after.items() if size - before.get(port, 0) >= _MUCH]
        return port

    def has_ended(self) -> bool:
        """Whether it was reset or closed by now; nothing was said."""
        try:
            return self.client.recv(1, socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True


class Pump:
    """Talks all the time by one connection, and measures the longest wait for an answer."""

    def __init__(self, echo: Echo) -> None:
        self.turns, self.longest = 0, 0.0
        self.failure: Exception | None = None
        self._echo, self._over = echo, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def goes_on(self) -> None:
        """It has been answered again and again from now on."""
        before = self.turns
        until(lambda: self.turns > before + 20 or self.failure, SECONDS, "the flow to go on")
        assert self.failure is None

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                began = time.monotonic()
                self._echo.talk()
                self.longest = max(self.longest, time.monotonic() - began)
                self.turns += 1
        except (OSError, AssertionError) as error:
            self.failure = error


@contextmanager
def other_transport_than(laptop: Laptop, ports: Collection[int]) -> Iterator[tuple[Echo, int]]:
    """A flow that goes by another transport than these; gives it and its transport."""
    with ExitStack() as stack:

        def look() -> tuple[Echo, int] | None:
            echo = Echo(laptop)
            port = echo.transport()
            if port in ports:
                echo.client.close()
                return None
            stack.enter_context(echo)
            return echo, port

        yield until(look, SECONDS, f"a transport that is not in {ports}")


def _received(laptop: Laptop) -> dict[int, int]:
    """How many bytes have come on each connection to the API server, by the laptop's port."""
    where = f"dst {network.NODE_V4} dport = :{network.API_PORT}"
    asked = ["ss", "-Htin", "state", "established", *where.split()]
    rows = laptop.call(lambda: subprocess.check_output(asked, text=True)).replace("\n\t", " ")
    return {int(port): int(size) for port, size in _CONNECTION.findall(rows)}
