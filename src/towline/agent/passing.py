"""Joins two TCP connections of this pod, as if they were one."""

from __future__ import annotations

import asyncio
from typing import cast

from towline.agent.underway import Underway
from towline.relay import sockets
from towline.wire.frames import Buffer

# What may wait for a slow reader before its counterpart is not read any more.
WRITE_HIGH_BYTES = 256 * 1024


class Passing(asyncio.Protocol):
    """One of two connections; what it receives goes to the other.

    Half-close passes; a connection that is lost resets the other. What comes before both are
    there is kept, and no more is read then: `early` has come already, and its end with `eof`.
    While it is open it is under way.
    """

    def __init__(self, underway: Underway, early: Buffer = b"", eof: bool = False) -> None:
        self._underway = underway
        self._transport: asyncio.Transport | None = None
        self._other: Passing | None = None
        self._early = bytearray(early)
        self._eof = eof

    def join(self, other: Passing) -> None:
        """Join two connections that are both there."""
        self._other, other._other = other, self
        for one, two in ((self, other), (other, self)):
            if one._transport is None:  # lost while the other was being made
                two.abort()
                continue
            two.write(one._early)
            one._early.clear()
            if one._eof:
                two.write_eof()
            else:
                one._transport.resume_reading()

    def write(self, data: Buffer) -> None:
        """Send what the other side has received."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(bytes(data))

    def write_eof(self) -> None:
        """Pass a half-close on; the second one ends both."""
        if self._transport is None or self._transport.is_closing():
            return
        try:
            self._transport.write_eof()
        except OSError:  # it has been reset
            self.abort()
            return
        if self._eof:
            sockets.close_in_order(self._transport)

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait to be joined."""
        self._underway.open += 1
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        sockets.send_at_once(transport)
        sockets.reset_if_cut_off(transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on, or keep it."""
        if self._other is not None:
            self._other.write(data)
            return
        self._early += data
        if self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Pass it on, and go on in the other direction."""
        self._eof = True
        if self._other is not None:
            self._other.write_eof()
        return True

    def pause_writing(self) -> None:
        """Hold the sender back."""
        if self._other is not None and self._other._transport is not None:
            self._other._transport.pause_reading()

    def resume_writing(self) -> None:
        """Let it go on."""
        if self._other is not None and self._other._transport is not None:
            self._other._transport.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the other one; in order if this one has."""
        self._underway.open -= 1
        self._transport = None
        if self._other is not None:
            self._other._counterpart_lost(exc)

    def _counterpart_lost(self, error: BaseException | None) -> None:
        if self._transport is None:
            return
        if error is None and self._eof:
            sockets.close_in_order(self._transport)
        else:
            self.abort()

    def abort(self) -> None:
        """End it with an RST."""
        if self._transport is not None:
            sockets.abort_with_reset(self._transport)
