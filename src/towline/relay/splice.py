"""Joins one local TCP connection and one stream of a link, as if they were one connection."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from typing import TYPE_CHECKING, Callable, cast

from towline.relay import sockets
from towline.relay.turns import TURN_BYTES
from towline.wire.frames import Buffer, Reason

if TYPE_CHECKING:
    from towline.relay.outbox import Allowance
    from towline.relay.stream import Stream

# Up to this much goes out without waiting for a turn: keystrokes, requests, small answers.
SMALL_BYTES = 8 * 1024
# Data comes in views of what the link received at once, some hundred KiB. So small a piece, and
# what waits, is kept as a copy, lest it hold a whole such buffer while the local reader is slow.
COPY_BYTES = 8 * 1024

_REASONS = {
    errno.ECONNREFUSED: Reason.REFUSED,
    errno.ENETUNREACH: Reason.NET_UNREACHABLE,
    errno.EADDRNOTAVAIL: Reason.NET_UNREACHABLE,  # no address of that family here
    errno.EAFNOSUPPORT: Reason.NET_UNREACHABLE,
    errno.EHOSTUNREACH: Reason.HOST_UNREACHABLE,
    errno.EHOSTDOWN: Reason.HOST_UNREACHABLE,
    errno.EACCES: Reason.PROHIBITED,
    errno.EPERM: Reason.PROHIBITED,  # a local firewall says no
    errno.ETIMEDOUT: Reason.TIMED_OUT,
    errno.ECONNRESET: Reason.RESET,
    errno.EPIPE: Reason.RESET,
    errno.EMFILE: Reason.EXHAUSTED,
    errno.ENFILE: Reason.EXHAUSTED,
}


def reason_of(error: BaseException) -> Reason:
    """Return what to reset a stream with when its local connection fails with `error`."""
    if isinstance(error, socket.gaierror):
        return Reason.UNRESOLVED
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return Reason.TIMED_OUT
    if isinstance(error, asyncio.CancelledError):
        return Reason.CANCELLED
    if not isinstance(error, OSError):
        return Reason.INTERNAL
    # Of several addresses the last one counts, as for most programs that try them in turn.
    number = sockets.error_numbers(error)[-1:]
    return _REASONS.get(number[0], Reason.INTERNAL) if number else Reason.INTERNAL


class Splice(asyncio.BufferedProtocol):
    """The local connection's protocol and the stream's handler at once.

    Made with a stream, it becomes its handler. Then, at once or later, hand it to
    `loop.create_connection` or `loop.connect_accepted_socket`; what comes before that is kept
    within the stream's window. A stream that the other end opened is accepted when the local
    connection is there; if there will be none, call `reset`.

    `on_accepted()` is called when the other end accepts our stream. `on_closed(reason)` is
    called once, when nothing is left of either side: with None if both ended in order. What waits
    here for a side that is too slow is taken from `allowance`; when that has nothing left, the
    splice is reset.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        on_accepted: Callable[[], None] | None = None,
        on_closed: Callable[[Reason | None], None] | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        stream.handler = self
        self._stream = stream
        self._on_accepted = on_accepted
        self._on_closed = on_closed
        self._allowance = allowance
        self._counted = 0  # what of that is taken
        self._local: asyncio.Transport | None = None
        # From the stream, waiting for the local side.
        self._backlog: deque[bytearray] = deque()
        self._backlog_bytes = 0
        # From the local side, waiting for credit or a turn.
        self._unsent = memoryview(b"")
        self._room = memoryview(b"")
        # Bytes that the transport of the local side has not got rid of.
        self._held = 0
        self._writable = True
        self._local_eof = False
        self._stream_eof = False
        self._attached = False
        self._closed = False
        self._reason: Reason | None = None

    def reset(self, reason: Reason) -> None:
        """End both sides at once: the stream with `reason`, the local connection with RST."""
        self._stream.reset(reason)
        self._abort(reason)

    # -- the local connection (asyncio.Protocol)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the local connection to the stream."""
        self._local = cast("asyncio.Transport", transport)
        self._attached = True
        if self._reason is not None:
            self._abort(self._reason)
            return
        if failure := sockets.failure(transport):
            self.reset(reason_of(failure))
            return
        sockets.send_at_once(transport)
        # What the kernel takes counts as read, and it would take megabytes.
        sockets.keep_send_buffer_short(transport)
        sockets.reset_if_cut_off(transport)
        self._local.set_write_buffer_limits(high=0)
        self._write_on()  # before anything else: somebody waits for what it brings about
        self._count()
        if self._stream.incoming:
            self._stream.accept()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give room for no more than may be sent: a stream without credit keeps nothing here."""
        self._room = self._stream.room()
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        data, self._room = bytes(self._room[:nbytes]), memoryview(b"")
        self.data_received(data)

    def data_received(self, data: bytes) -> None:
        """Send local data, all that credit and the link allow, or stop reading."""
        if len(data) <= SMALL_BYTES and not self._unsent and len(data) <= self._stream.credit:
            self._stream.send(data)
            if not (self._stream.credit and self._stream.may_send()):
                self._pause()
            return
        self._unsent = memoryview(bytes(self._unsent) + data if self._unsent else data)
        self._push()

    def eof_received(self) -> bool:
        """Pass the local half-close on; keep the other direction open."""
        self._local_eof = True
        if not self._unsent:
            self._finish_stream()
        return True

    def pause_writing(self) -> None:
        """Withhold credit: the local reader is slow."""
        self._writable = False

    def resume_writing(self) -> None:
        """Give the credit for what was written, and write on."""
        self._writable = True
        held, self._held = self._held, 0
        self._stream.consumed(held)
        if self._backlog:
            self._write_on()
        self._count()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Pass on how the local connection ended."""
        self._local = None
        self._unsent = memoryview(b"")
        if not self._stream.closed:
            self._reason = reason_of(exc) if exc else Reason.CANCELLED
            self._stream.reset(self._reason)
        self._drop_backlog()
        self._close()

    # -- the stream (StreamHandler)

    def accepted(self) -> None:
        """Tell the owner."""
        if self._on_accepted:
            self._on_accepted()

    def data(self, data: Buffer) -> None:
        """Write to the local side, or keep it while that is slow; give credit for what it takes."""
        if self._local is not None and self._writable:
            self._write(bytes(data) if len(data) <= COPY_BYTES else data)
            self._count()
            return
        self._backlog_bytes += len(data)
        if self._backlog and len(self._backlog[-1]) + len(data) <= COPY_BYTES:
            self._backlog[-1] += data
        else:
            self._backlog.append(bytearray(data))
        self._count()

    def eof(self) -> None:
        """Pass the other end's half-close on."""
        self._stream_eof = True
        if self._local is not None:
            self._write_on()

    def credit(self) -> None:
        """Send what waits, or read again."""
        self._push()

    # -- helpers

    def _push(self) -> None:
        """Send what waits, a turn at a time; then read on."""
        if not self._unsent and self._stream.waiting:
            return
        while self._unsent:
            size = min(len(self._unsent), self._stream.credit, TURN_BYTES)
            if not size or not self._stream.may_send():
                self._pause()
                self._count()
                return
            self._stream.send(self._unsent[:size])
            self._unsent = self._unsent[size:]
        self._count()
        if self._local_eof:
            self._finish_stream()
        elif not self._stream.credit:
            self._pause()
        elif self._local is not None:
            self._local.resume_reading()

    def _write(self, data: Buffer) -> None:
        local = cast("asyncio.Transport", self._local)
        if local.is_closing():
            self._stream.consumed(len(data))
            return
        self._held = len(data)
        local.write(data)
        if self._writable:
            self._held = 0
            self._stream.consumed(len(data))

    def _write_on(self) -> None:
        """Write what waits, as far as the local side takes it, and then pass an end on."""
        while self._backlog and self._writable:
            data = self._backlog.popleft()
            self._backlog_bytes -= len(data)
            self._write(data)
        if self._stream_eof and not self._backlog:
            self._finish_local()

    def _drop_backlog(self) -> None:
        unread = self._held + self._backlog_bytes
        self._held = self._backlog_bytes = 0
        self._backlog.clear()
        self._stream.consumed(unread)
        self._count()

    def _pause(self) -> None:
        if self._local is not None and not self._local_eof:
            self._local.pause_reading()

    def _count(self) -> None:
        """Take from the allowance what waits by now."""
        if self._allowance is None:
            return
        waiting = self._backlog_bytes + self._held + len(self._unsent)
        more, self._counted = waiting - self._counted, waiting
        if more:
            self._allowance.take(more)
        if more > 0 and self._allowance.left < 0:
            self.reset(Reason.EXHAUSTED)

    def _finish_stream(self) -> None:
        self._stream.send_eof()
        if self._stream_eof and not self._backlog and self._local is not None:
            sockets.close_in_order(self._local)

    def _finish_local(self) -> None:
        local = self._local
        if local is None or local.is_closing():
            return
        try:
            local.write_eof()
        except OSError:  # the local side has reset it, which we had no other way to see
            self.reset(Reason.RESET)
            return
        if self._local_eof and not self._unsent:
            sockets.close_in_order(local)

    def _abort(self, reason: Reason) -> None:
        self._reason = reason
        self._unsent = memoryview(b"")
        self._drop_backlog()
        if self._local is None:
            self._close()
        else:
            sockets.abort_with_reset(self._local)

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._on_closed:
            self._on_closed(self._reason)
