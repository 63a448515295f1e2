"""The client's side of the WebSocket protocol (RFC 6455), without I/O and without copies of bulk.

Only what a binary subprotocol without extensions needs: text messages are refused, and messages
are sent in one frame each.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import secrets
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from towline.wire.frames import Buffer

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
MAX_CONTROL_BYTES = 125


class Opcode(enum.IntEnum):
    """What a frame is (section 5.2)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(enum.IntEnum):
    """Why a connection is closed (section 7.4.1); only those with a use here."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NONE_GIVEN = 1005  # never on the wire: the peer's close frame had no code
    INVALID_TEXT = 1007
    MESSAGE_TOO_BIG = 1009


class Piece:
    """A piece of a binary message: `first` and `last` tell where the message begins and ends.

    `data` is empty only where a message has nothing (more) to say but its end.
    """

    __slots__ = ("data", "first", "last")

    def __init__(self, data: memoryview, first: bool, last: bool) -> None:
        self.data = data
        self.first = first
        self.last = last


class Ping:
    """The peer wants a pong with the same payload."""

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload = payload


class Pong:
    """The answer to a ping of ours, or a sign of life."""

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload = payload


class Close:
    """The peer ends the connection; nothing comes after it."""

    __slots__ = ("code", "reason")

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason


class Violation:
    """The peer broke the protocol: to be closed with `code`. The decoder gives nothing after it."""

    __slots__ = ("code", "reason")

    def __init__(self, code: CloseCode, reason: str) -> None:
        self.code = code
        self.reason = reason


Event = Union[Piece, Ping, Pong, Close, Violation]


class Decoder:
    """Turns the bytes that a server sends into events, whichever way they are cut."""

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_message_bytes = max_message_bytes
        self._head = bytearray()  # the beginning of a frame's head that is not complete yet
        self._left = 0  # payload bytes of the current data frame that are still to come
        self._final = True  # the current data frame is the last one of its message
        self._in_message = False  # a data frame with FIN = 0 was the last one
        self._first = True  # the next piece is the first one of its message
        self._room = max_message_bytes  # what the current message may still bring
        self._ended = False

    def receive(self, data: Buffer) -> list[Event]:
        """Take what has come; the pieces in the events are views of `data`."""
        view = memoryview(data)
        position, size = 0, len(view)
        events: list[Event] = []
        while position < size and not self._ended:
            left = self._left
            if not left:
                position = self._take_head(view, position, events)
                continue
            end = min(position + left, size)
            self._left = left = left - (end - position)
            last = self._final and not left
            events.append(Piece(view[position:end], self._first, last))
            self._first = last
            position = end
        return events

    def _take_head(self, view: memoryview, position: int, events: list[Event]) -> int:
        """Take a frame's head, of a control frame all; give the position behind what was taken."""
        if not self._head:
            rest = len(view) - position
            need = 2 if rest < 2 else _head_bytes(view[position], view[position + 1])
            if rest >= need:
                self._handle(view[position : position + need], events)
                return position + need
        # It began in an earlier piece, or ends in a later one.
        head = self._head
        while position < len(view):
            need = 2 if len(head) < 2 else _head_bytes(head[0], head[1])
            taken = view[position : position + need - len(head)]
            head += taken
            position += len(taken)
            if len(head) >= 2 and len(head) == _head_bytes(head[0], head[1]):
                self._head = bytearray()
                self._handle(memoryview(head), events)
                break
        return position

    def _handle(self, head: memoryview, events: list[Event]) -> None:
        try:
            if head[0] & 0x08:
                events.append(self._control(head))
            elif not self._begin_data(head):
                return
            elif self._final:  # a frame without payload ends the message
                events.append(Piece(memoryview(b""), self._first, True))
                self._first = True
        except _ViolationError as violated:
            self._ended = True
            events.append(Violation(violated.code, violated.reason))

    def _begin_data(self, head: memoryview) -> bool:
        """Note what a data frame's head says; whether the frame has no payload."""
        opcode = head[0] & 0x0F
        _check_common(head)
        if opcode == Opcode.TEXT:
            raise _ViolationError(CloseCode.UNSUPPORTED_DATA, "a text message")
        if opcode not in (Opcode.CONTINUATION, Opcode.BINARY):
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, f"the unknown opcode {opcode}")
        if (opcode == Opcode.CONTINUATION) is not self._in_message:
            what = "a new message inside another" if self._in_message else "a stray continuation"
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, what)
        if not self._in_message:
            self._room = self._max_message_bytes
        length = _length(head)
        self._room -= length
        if self._room < 0:
            raise _ViolationError(CloseCode.MESSAGE_TOO_BIG, "a message larger than allowed")
        self._left = length
        self._final = bool(head[0] & 0x80)
        self._in_message = not self._final
        return not length

    def _control(self, head: memoryview) -> Event:
        opcode = head[0] & 0x0F
        _check_common(head)
        if not head[0] & 0x80:
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, "a control frame in fragments")
        if head[1] > MAX_CONTROL_BYTES:
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, "a control frame that is too long")
        payload = bytes(head[2:])
        if opcode == Opcode.PING:
            return Ping(payload)
        if opcode == Opcode.PONG:
            return Pong(payload)
        if opcode != Opcode.CLOSE:
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, f"the unknown opcode {opcode}")
        close = _parse_close(payload)
        self._ended = True
        return close


def message_head(length: int) -> bytes:
    """What goes before the `length` payload bytes of a binary message.

    The masking key is zero, so that the payload is sent as it is. Masking (section 10.3) guards
    proxies against what a script in a browser may choose to send; we choose what we send, and
    almost always inside TLS.
    """
    return _head(Opcode.BINARY, length)


def pong(payload: bytes) -> bytes:
    """A whole pong frame."""
    return _head(Opcode.PONG, len(payload)) + payload


def close(code: int, reason: str = "") -> bytes:
    """A whole close frame; a reason that does not fit is cut."""
    if code == CloseCode.NONE_GIVEN:
        return _head(Opcode.CLOSE, 0)
    text = reason.encode()[: MAX_CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return _head(Opcode.CLOSE, 2 + len(text)) + code.to_bytes(2, "big") + text


def new_key() -> str:
    """A `Sec-WebSocket-Key` (section 4.1)."""
    return base64.b64encode(secrets.token_bytes(16)).decode()


def accept_of(key: str) -> str:
    """The `Sec-WebSocket-Accept` with which a server proves that it read the key."""
    digest = hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_NO_MASK = bytes(4)


class _ViolationError(Exception):
    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def _head(opcode: Opcode, length: int) -> bytes:
    if length < 126:
        return bytes((0x80 | opcode, 0x80 | length)) + _NO_MASK
    if length < 0x10000:
        return bytes((0x80 | opcode, 0xFE)) + length.to_bytes(2, "big") + _NO_MASK
    return bytes((0x80 | opcode, 0xFF)) + length.to_bytes(8, "big") + _NO_MASK


def _head_bytes(first: int, second: int) -> int:
    """The size of a frame's head by its first two bytes; of a control frame, with its payload."""
    length = second & 0x7F
    if second & 0x80:
        return 2  # masked, which is refused
    if first & 0x08:
        return 2 + length if length < 126 else 2  # a longer one is refused
    return 2 if length < 126 else 4 if length == 126 else 10


def _check_common(head: memoryview) -> None:
    if head[0] & 0x70:
        raise _ViolationError(CloseCode.PROTOCOL_ERROR, "reserved bits are set")
    if head[1] & 0x80:
        raise _ViolationError(CloseCode.PROTOCOL_ERROR, "a masked frame from the server")


def _length(head: memoryview) -> int:
    if head[1] < 126:
        return head[1]
    length = int.from_bytes(head[2:], "big")
    least = 126 if head[1] == 126 else 0x10000
    if length < least or length >> 63:
        raise _ViolationError(CloseCode.PROTOCOL_ERROR, "a length that is not in its shortest form")
    return length


def _parse_close(payload: bytes) -> Close:
    if not payload:
        return Close(CloseCode.NONE_GIVEN, "")
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not _may_be_sent(code):
        raise _ViolationError(CloseCode.PROTOCOL_ERROR, "a close frame without a valid code")
    try:
        reason = payload[2:].decode()
    except UnicodeDecodeError:
        raise _ViolationError(CloseCode.INVALID_TEXT, "a close reason that is not UTF-8") from None
    return Close(code, reason)


def _may_be_sent(code: int) -> bool:
    """Sections 7.4.1, 7.4.2, and the registry that section 11.7 sets up."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
