"""Joins two connections, as if they were one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import cast

from towline.relay import sockets


class Side(asyncio.Protocol):
    """One end of two. Nothing is read from it before :func:`join`."""

    def __init__(self) -> None:
        self._ended = False
        self._lost = False
        self._other: Side | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the other side."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()
        sockets.send_at_once(transport)
        sockets.reset_if_cut_off(transport)

    def join(self, other: Side) -> None:
        """Be one with another side from now on."""
        self._other = other
        if other._lost:
            sockets.abort_with_reset(self.transport)
        else:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        assert self._other
        if not self._other.transport.is_closing():
            self._other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass the half-close on, or, when it is the second one, close."""
        assert self._other
        self._ended = True
        if self._other._ended:
            sockets.close_in_order(self._other.transport)
            sockets.close_in_order(self.transport)
        elif not self._other.transport.is_closing():
            with suppress(OSError):  # it has been reset, of which it tells itself
                self._other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        """This side takes no more: the other is not read from."""
        if self._other:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        """It does again."""
        if self._other and not self._other.transport.is_closing():
            self._other.transport.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cut the other side off, unless both have ended in order."""
        self._lost = True
        if self._other and not (self._ended and self._other._ended):
            sockets.abort_with_reset(self._other.transport)


def join(one: Side, other: Side, said: bytes) -> None:
    """Make two sides one connection; `said` has come from the first one already."""
    one.join(other)
    other.join(one)
    if said:
        one.data_received(said)
