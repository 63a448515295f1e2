"""The frames of the link's protocol: layout, limits, and a decoder that never joins bulk data.

docs/protocol.md is the full description. Numbers are in network byte order.
"""

# ruff: noqa: N818

from __future__ import annotations

import enum
import json
import struct
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Buffer = Union[bytes, bytearray, memoryview]
Frame = tuple[int, int, Buffer]
"""Type, stream and payload, or, of a DATA frame, a piece of the payload."""

PROTOCOL_VERSION = 1
MAGIC = b"TOWL"

HEADER_BYTES = 8
MAX_DATA_BYTES = 64 * 1024
MAX_TARGET_BYTES = 1024
MAX_CONTROL_BYTES = 64 * 1024
MAX_STREAM = 0xFFFFFFFF

IGNORABLE = 0x80
"""Set in the types of frames that a receiver which does not know them skips."""


class FrameType(enum.IntEnum):
    """The first byte of a frame."""

    DATA = 0
    HELLO = 1
    OPEN = 2
    ACCEPT = 3
    EOF = 4
    RESET = 5
    WINDOW = 6
    PING = 7
    PONG = 8
    GOAWAY = 9
    RETURN = 11
    BLOCKED = IGNORABLE | 10


class Kind(enum.IntEnum):
    """What a stream carries, and so what its target means."""

    TCP = 1  # the bytes of one connection; the target is a wire.target.Target
    RESOLVE = 2  # one DNS message each way, then EOF; no target
    CLAIM = 3  # nothing: who opens it gets a port's connections while it lasts; a wire.target port
    INCOMING = 4  # what comes to such a port, or a copy of it; a wire.target.Incoming
    ROUTE = 5  # one JSON object each way, then EOF: what the agent's router is to do; no target
    UDP = 6  # messages of wire.association, for any number of peers; no target
    ECHO = 7  # the same for ICMP echoes
    DIRECT = 8  # a key and its certificate, in PEM, then EOF; the port that is for who has it, EOF
    USERS = 9  # nothing but EOF; then a JSON list of who else uses the agent, EOF


class Reason(enum.IntEnum):
    """Why a stream was reset."""

    INTERNAL = 0  # the other end failed; also stands for reasons this version does not know
    REFUSED = 1
    NET_UNREACHABLE = 2
    HOST_UNREACHABLE = 3
    TIMED_OUT = 4
    RESET = 5  # the TCP connection behind the stream was reset
    CANCELLED = 6  # whoever wanted the stream no longer does
    UNSUPPORTED = 7  # an unknown kind or a malformed target
    UNRESOLVED = 8  # the target's name has no address
    EXHAUSTED = 9  # too many streams, or another limit of the receiver
    GOING_AWAY = 10  # opened after GOAWAY
    PROHIBITED = 11  # a firewall says no, or the agent may not do that
    LINK_LOST = 255  # never sent: what local users are told when the link is gone


class ProtocolError(Exception):
    """The peer broke the protocol, or is no such peer: the link is of no more use."""


class VersionMismatch(ProtocolError):
    """The peer speaks another version of the protocol."""

    def __init__(self, ours: int, theirs: int) -> None:
        super().__init__(f"protocol version {theirs} of the peer is not ours, {ours}")
        self.ours = ours
        self.theirs = theirs


_HEADER = struct.Struct("!II")
_HELLO = struct.Struct("!4sH")
_U32 = struct.Struct("!I")
_U64 = struct.Struct("!Q")
pack_header = _HEADER.pack
"""`pack_header(type << 24 | length, stream)`: for callers in a hurry; others use `encode`."""

# The least and the most bytes that the payload of each type may have.
_LENGTHS: dict[int, tuple[int, int]] = {
    FrameType.DATA: (0, MAX_DATA_BYTES),
    FrameType.HELLO: (_HELLO.size, MAX_CONTROL_BYTES),
    FrameType.OPEN: (1, 1 + MAX_TARGET_BYTES),
    FrameType.ACCEPT: (0, 0),
    FrameType.EOF: (0, 0),
    FrameType.RESET: (1, 1),
    FrameType.WINDOW: (_U32.size, _U32.size),
    FrameType.PING: (_U64.size, _U64.size),
    FrameType.PONG: (_U64.size, _U64.size),
    FrameType.GOAWAY: (0, MAX_CONTROL_BYTES),
    FrameType.BLOCKED: (0, 0),
    FrameType.RETURN: (_U32.size, _U32.size),
}
_OF_LINK = frozenset((FrameType.HELLO, FrameType.PING, FrameType.PONG, FrameType.GOAWAY))


def encode(kind: FrameType, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame as bytes."""
    return pack_header(kind << 24 | len(payload), stream) + payload


def encode_hello(properties: Mapping[str, object]) -> bytes:
    """Return a HELLO frame. Its layout is the same in every version of the protocol."""
    text = json.dumps(dict(properties), separators=(",", ":")).encode()
    payload = _HELLO.pack(MAGIC, PROTOCOL_VERSION) + text
    if len(payload) > MAX_CONTROL_BYTES:
        raise ValueError(f"hello properties of {len(text)} bytes are too long")
    return encode(FrameType.HELLO, 0, payload)


def decode_hello(payload: Buffer) -> dict[str, object]:
    """Return the properties in a HELLO's payload.

    Raises VersionMismatch, or ProtocolError when it is no HELLO at all.
    """
    magic, version = _HELLO.unpack_from(payload)
    if magic != MAGIC:
        raise ProtocolError("the peer does not speak this protocol")
    if version != PROTOCOL_VERSION:
        raise VersionMismatch(PROTOCOL_VERSION, version)
    try:
        properties = json.loads(bytes(payload[_HELLO.size :]).decode())
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"malformed hello: {error}") from None
    if not isinstance(properties, dict):
        raise ProtocolError("malformed hello: no JSON object")
    return properties


def encode_credit(kind: FrameType, stream: int, credit: int) -> bytes:
    """Return a WINDOW frame that grants so many bytes, or a RETURN of them."""
    return encode(kind, stream, _U32.pack(credit))


def decode_credit(payload: Buffer) -> int:
    """Return the bytes that a WINDOW grants or a RETURN returns."""
    credit: int = _U32.unpack(payload)[0]
    return credit


def encode_ping(kind: FrameType, token: int) -> bytes:
    """Return a PING or a PONG with a token of 64 bits."""
    return encode(kind, 0, _U64.pack(token))


def decode_ping(payload: Buffer) -> int:
    """Return the token of a PING or a PONG."""
    token: int = _U64.unpack(payload)[0]
    return token


class Decoder:
    """Cuts the peer's bytes into frames; holds back at most one control frame's bytes."""

    def __init__(self) -> None:
        self._type: int = FrameType.HELLO
        self._stream = 0
        self._missing = 0  # payload bytes of the frame under way that are still to come
        self._held = bytearray()  # an incomplete header or control payload
        self._in_payload = False
        self._greeted = False

    def receive(self, data: Buffer) -> Iterator[Frame]:
        """Yield the frames in `data`, of DATA frames the pieces that are there; to be exhausted.

        Pieces are views into `data`, which must not change afterwards. Raises ProtocolError
        when it comes to a header that is wrong; the decoder is then of no more use.
        """
        view = memoryview(data)
        end = len(view)
        pos = 0
        if self._in_payload or self._held:
            pos, frame = self._resume(view)
            if frame is not None:
                yield frame
        unpack = _HEADER.unpack_from
        while end - pos >= HEADER_BYTES:
            word, stream = unpack(view, pos)
            pos += HEADER_BYTES
            length = word & 0xFFFFFF
            kind = word >> 24
            self._check(kind, stream, length)
            stop = pos + length
            if stop > end:
                self._type, self._stream, self._missing = kind, stream, stop - end
                self._in_payload = True
                if kind:
                    self._held += view[pos:]
                elif end > pos:
                    yield kind, stream, view[pos:]
                return
            if length or kind:
                yield kind, stream, view[pos:stop]
            pos = stop
        if pos < end:
            self._held += view[pos:]

    def _resume(self, view: memoryview) -> tuple[int, Frame | None]:
        """Go on with what the last call left incomplete.

        Returns where its bytes end in `view`, and the frame or piece that they make.
        """
        pos = 0
        if not self._in_payload:
            pos = HEADER_BYTES - len(self._held)
            self._held += view[:pos]
            if len(self._held) < HEADER_BYTES:
                return len(view), None
            word, self._stream = _HEADER.unpack(self._held)
            self._held.clear()
            self._type, self._missing = word >> 24, word & 0xFFFFFF
            self._check(self._type, self._stream, self._missing)
        piece = view[pos : pos + self._missing]
        pos += len(piece)
        self._missing -= len(piece)
        self._in_payload = self._missing > 0
        if self._type == FrameType.DATA:
            return pos, (self._type, self._stream, piece) if piece else None
        self._held += piece
        if self._in_payload:
            return pos, None
        payload = bytes(self._held)
        self._held.clear()
        return pos, (self._type, self._stream, payload)

    def _check(self, kind: int, stream: int, length: int) -> None:
        """Raise ProtocolError for a header that no peer may send."""
        if kind == 0 and stream and length <= MAX_DATA_BYTES and self._greeted:
            return  # by far the most frequent
        if (kind == FrameType.HELLO) == self._greeted:
            raise ProtocolError("the peer does not begin with one hello")
        self._greeted = True
        least, most = _LENGTHS.get(kind, (0, MAX_CONTROL_BYTES if kind & IGNORABLE else -1))
        if most < 0:
            raise ProtocolError(f"unknown frame type {kind:#04x}")
        if not least <= length <= most:
            raise ProtocolError(f"frame type {kind:#04x} with {length} bytes")
        if kind in _LENGTHS and (stream == 0) != (kind in _OF_LINK):
            raise ProtocolError(f"frame type {kind:#04x} on stream {stream}")
