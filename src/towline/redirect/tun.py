"""The session's end of the TUN device: IP packets in, IP packets out, whole, one at a time."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_PACKET_BYTES = 65536
# So many packets at a time, then the loop's other work gets its turn.
_BATCH = 64


class Tun:
    """Owns the device's descriptor: :meth:`close` makes the device and its routes go."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._receiver: Callable[[bytes], None] | None = None

    def receive(self, receiver: Callable[[bytes], None] | None) -> None:
        """Call `receiver` with every packet that the kernel routes here; None: leave them there."""
        if self._descriptor < 0:
            return
        self._receiver = receiver
        if receiver is None:
            self._loop.remove_reader(self._descriptor)
        else:
            self._loop.add_reader(self._descriptor, self._read)

    def send(self, packet: bytes) -> None:
        """Hand a packet to the kernel as if it came in here; one that it cannot take is lost."""
        with suppress(OSError):
            os.write(self._descriptor, packet)

    def close(self) -> None:
        """Let go of the device. Idempotent."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self) -> None:
        for _ in range(_BATCH):
            if self._receiver is None or self._descriptor < 0:  # a receiver may end this
                return
            try:
                packet = os.read(self._descriptor, _MAX_PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:  # the device was taken away or set down (EBADFD, EIO)
                self._loop.remove_reader(self._descriptor)
                return
            self._receiver(packet)
