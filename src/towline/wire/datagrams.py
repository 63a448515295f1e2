"""Datagrams on a stream: each one behind its length, 2 bytes in network byte order."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from towline.wire.frames import Buffer

MAX_DATAGRAM_BYTES = 65535

_LENGTH = struct.Struct("!H")


def encode(datagram: Buffer) -> bytes:
    """Return a datagram as a stream carries it. Raises ValueError when it is too long."""
    if len(datagram) > MAX_DATAGRAM_BYTES:
        raise ValueError(f"a datagram of {len(datagram)} bytes")
    return _LENGTH.pack(len(datagram)) + datagram


class Decoder:
    """Gathers the datagrams of one direction of a stream. It keeps less than one of them."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def receive(self, data: Buffer) -> list[bytes]:
        """Return the datagrams that are complete with what has come now, in order."""
        self._rest += data
        found, start = [], 0
        while len(self._rest) - start >= _LENGTH.size:
            begin = start + _LENGTH.size
            (length,) = _LENGTH.unpack_from(self._rest, start)
            if len(self._rest) - begin < length:
                break
            start = begin + length
            found.append(bytes(self._rest[begin:start]))
        del self._rest[:start]
        return found
