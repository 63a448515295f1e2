"""A WebSocket that carries numbered channels, as the API server's streams do.

Each binary message begins with one byte, the number of the channel that it is for. See
https://kubernetes.io/docs/concepts/architecture/control-plane-node-communication/ and
k8s.io/apimachinery/pkg/util/httpstream/wsstream.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import TYPE_CHECKING, Protocol

from towline.relay import sockets
from towline.wire import websocket
from towline.wire.websocket import CloseCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from towline.kube.upgrade import Upgraded

Buffer = bytes | bytearray | memoryview

# The kubelet reads a whole message before it passes on the first byte, and grows its buffer
# while it does: larger ones cost it more copies, smaller ones more system calls.
MESSAGE_BYTES = 64 * 1024

# Up to here one copy is cheaper than a TLS record of its own for the head of the message.
_JOIN_BYTES = 16 * 1024

# The most that is read in one go. A new buffer is made when less than _LEAST_READ_BYTES are
# free in the old one: what was received is given away in views and must not be overwritten.
_READ_BYTES = 256 * 1024
_LEAST_READ_BYTES = 64 * 1024

# What the kernel may hold beyond what the network takes: else it keeps megabytes of a bulk
# transfer before all that is written later, which is seconds on a slow uplink. Less costs more
# wake-ups without being any quicker.
_UNSENT_BYTES = 256 * 1024

# For the closing handshake; after that the connection is cut.
CLOSE_SECONDS = 5.0


class BrokenError(Exception):
    """The connection ended in another way than by a closing handshake without complaint."""


class Receiver(Protocol):
    """Who is told what comes in."""

    def channel_data(self, channel: int, data: memoryview, *, last: bool) -> None:
        """Take a piece of a message; `last` if the message ends with it. It never changes."""

    def channels_lost(self, error: Exception | None) -> None:
        """Note the end: nothing is called any more. `error` is None if it was orderly."""

    def pause_writing(self) -> None:
        """See asyncio.BaseProtocol."""

    def resume_writing(self) -> None:
        """See asyncio.BaseProtocol."""


class Channels(asyncio.BufferedProtocol):
    """The connection: an asyncio protocol below, `send`, `close` and flow control above.

    `transport` is the one below, for its write buffer's limits, size and extra information.
    """

    def __init__(self, upgraded: Upgraded, receiver: Receiver) -> None:
        self.transport = upgraded.transport
        self._upgraded = upgraded
        self._encrypts = upgraded.transport.get_extra_info("sslcontext") is not None
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._decoder = websocket.Decoder()
        self._free = memoryview(bytearray())
        self._held: deque[websocket.Event] = deque()  # received while reading is paused
        self._channel = 0
        self._paused = False
        self._closing = False  # by us or by the server: nothing is sent or given away any more
        self._ended = False  # the transport below is lost
        self._told = False  # so is our receiver
        self._error: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to receive. The receiver may be called at once."""
        _bound_unsent(self.transport)
        early = self._upgraded.attach(self)
        if self._paused:
            self.transport.pause_reading()
        self._take(memoryview(early))

    # -- for the user

    @property
    def closing(self) -> bool:
        """Whether sending has come to its end."""
        return self._closing or self._ended

    def send(self, channel: int, parts: Iterable[Buffer]) -> None:
        """Send the parts as few messages; bulk goes to TLS as it is, uncopied."""
        # One that is broken will tell so in the loop's next turn, and complains until then.
        if self.closing or sockets.is_broken(self.transport):
            return
        buffers = frames(channel, parts)
        if self._encrypts:
            self.transport.writelines(buffers)
        elif buffers:
            # The writelines of a plain socket never pauses the writer in Python 3.12.0 to
            # 3.12.8 and 3.13.0 to 3.13.1 (CVE-2024-12254).
            self.transport.write(b"".join(buffers))

    def pause_reading(self) -> None:
        """Hold back what comes in, and soon the sender."""
        if not self._paused and not self._closing:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on; what was held back is given out in the next turn of the event loop."""
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._release)

    def close(self, code: int = CloseCode.NORMAL, error: Exception | None = None) -> None:
        """Close when what was sent is through, or it is stuck; receive no more.

        `error` is what the receiver is told in the end.
        """
        if self._closing:
            return
        self._stop(error)
        if not self._ended:
            self.transport.write(websocket.close(code))
            # The server's close frame is behind all that it sent before.
            self.transport.resume_reading()
            self._watch_closing()

    def abort(self) -> None:
        """Cut the connection at once."""
        self._stop(self._error)
        self.transport.abort()

    # -- asyncio.BufferedProtocol

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give room for the next read."""
        if len(self._free) < _LEAST_READ_BYTES:
            self._free = memoryview(bytearray(_READ_BYTES))
        return self._free

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        data = self._free[:nbytes]
        self._free = self._free[nbytes:]
        self._take(data)

    def eof_received(self) -> None:
        """Let the transport close: a WebSocket has no half-close."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the receiver, after what is held back for it."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if not self._closing:
            self._error = BrokenError("the connection to the API server was lost")
            self._error.__cause__ = exc
        if not self._held:
            self._tell()

    def pause_writing(self) -> None:
        """Pass it on."""
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._receiver.resume_writing()

    # -- receiving

    def _take(self, data: memoryview) -> None:
        events = self._decoder.receive(data)
        if self._paused or self._held:
            self._held.extend(events)
            return
        for index, event in enumerate(events):
            self._handle(event)
            if self._paused:
                self._held.extend(events[index + 1 :])
                return

    def _release(self) -> None:
        try:
            while self._held and not self._paused:
                self._handle(self._held.popleft())
        except BaseException:
            self.abort()
            raise
        if self._paused:
            return
        if self._ended:
            self._tell()
        else:
            self.transport.resume_reading()

    def _handle(self, event: websocket.Event) -> None:
        if isinstance(event, websocket.Piece):
            self._piece(event)
        elif isinstance(event, websocket.Ping):
            if not self._closing:
                self.transport.write(websocket.pong(event.payload))
        elif isinstance(event, websocket.Close):
            self._close_received(event)
        elif isinstance(event, websocket.Violation):
            self.close(event.code, BrokenError(f"the server sent {event.reason}"))

    def _piece(self, piece: websocket.Piece) -> None:
        data = piece.data
        if piece.first:
            if not data:
                return  # a message for no channel
            self._channel = data[0]
            data = data[1:]
        if not self._closing:
            self._receiver.channel_data(self._channel, data, last=piece.last)

    def _close_received(self, event: websocket.Close) -> None:
        error = None
        if event.code not in (CloseCode.NORMAL, CloseCode.NONE_GIVEN):
            why = f": {event.reason}" if event.reason else ""
            error = BrokenError(f"the server closed it with the code {event.code}{why}")
        self.close(event.code, error)
        self.transport.close()

    # -- the end

    def _stop(self, error: Exception | None) -> None:
        """Give away nothing any more, and see to it that the receiver is told."""
        self._closing = True
        self._error = error
        self._paused = False
        self._held.clear()
        if self._ended:
            self._loop.call_soon(self._tell)

    def _watch_closing(self, unsent: int = -1) -> None:
        """Cut the connection when closing it makes no progress for CLOSE_SECONDS."""
        size = self.transport.get_write_buffer_size()
        if unsent >= 0 and not size < unsent:
            self.transport.abort()
        else:
            self._timer = self._loop.call_later(CLOSE_SECONDS, self._watch_closing, size)

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._receiver.channels_lost(self._error)


def frames(channel: int, parts: Iterable[Buffer]) -> list[Buffer]:
    """The parts as messages for a channel, each of MESSAGE_BYTES at most: buffers to send."""
    views = [view for part in parts if len(view := memoryview(part).cast("B"))]
    total = sum(map(len, views))
    number = bytes((channel,))
    if total <= _JOIN_BYTES:
        return [b"".join((websocket.message_head(1 + total), number, *views))] if total else []
    buffers: list[Buffer] = []
    room = 0
    for part in views:
        rest = part
        while rest:
            if not room:
                room = min(MESSAGE_BYTES, total)
                total -= room
                buffers.append(websocket.message_head(1 + room) + number)
            taken, rest = rest[:room], rest[room:]
            room -= len(taken)
            buffers.append(taken)
    return buffers


def _bound_unsent(transport: asyncio.Transport) -> None:
    carrier = transport.get_extra_info("socket")
    if carrier is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        carrier.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
