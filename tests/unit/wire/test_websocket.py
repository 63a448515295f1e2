from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.switching import frame
from tests.fuzz.fuzz_websocket import read_all, reference
from towline.wire import websocket
from towline.wire.websocket import Decoder, Piece

BINARY, CONTINUATION, CLOSE, PING, PONG = 2, 0, 8, 9, 10


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


payloads = st.one_of(
    st.binary(max_size=20), st.sampled_from([125, 126, 127, 300, 65535, 65536]).map(bytes)
)
control_frames = st.builds(
    frame, st.sampled_from([PING, PONG]), st.binary(max_size=websocket.MAX_CONTROL_BYTES)
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """The frames of one message, with control frames between them."""
    parts = draw(st.lists(payloads, min_size=1, max_size=4))
    out = b""
    for index, part in enumerate(parts):
        opcode = CONTINUATION if index else BINARY
        out += frame(opcode, part, final=index == len(parts) - 1)
        out += draw(st.one_of(st.just(b""), control_frames))
    return out


closes = st.builds(
    lambda code, reason: frame(CLOSE, struct.pack(">H", code) + reason.encode()),
    st.sampled_from([1000, 1001, 1011, 1013, 3000, 4999]),
    st.text(max_size=30),
)
conversations = st.builds(
    lambda frames, end: b"".join(frames) + end,
    st.lists(st.one_of(messages(), control_frames), max_size=6),
    st.one_of(st.just(b""), closes, st.just(frame(CLOSE, b"")), st.binary(max_size=30)),
)
places = st.lists(st.integers(min_value=0), max_size=20)


@given(conversations, places)
def test_decoder_gives_the_same_for_any_split(stream: bytes, cuts: list[int]) -> None:
    assert read_all(cut(stream, cuts)) == reference(stream)


@given(st.lists(messages(), min_size=1, max_size=3))
def test_decoder_gives_the_same_byte_by_byte(frames: list[bytes]) -> None:
    stream = b"".join(frames)[:2000]

    assert read_all([stream[i : i + 1] for i in range(len(stream))]) == reference(stream)


@given(st.binary(max_size=200), places)
def test_decoder_of_noise_does_what_the_reference_does(stream: bytes, cuts: list[int]) -> None:
    assert read_all(cut(stream, cuts)) == reference(stream)


def test_message_of_which_only_the_head_has_come_is_nothing_yet() -> None:
    assert read_all([b"\x02\x01"]) == reference(b"\x02\x01") == []


def test_decoder_gives_views_of_what_it_was_given() -> None:
    data = frame(BINARY, b"abc") + frame(BINARY, b"defg")[:4]

    pieces = Decoder().receive(data)

    assert [bytes(piece.data) for piece in pieces if isinstance(piece, Piece)] == [b"abc", b"de"]
    assert all(piece.data.obj is data for piece in pieces if isinstance(piece, Piece))


def test_decoder_marks_where_messages_begin_and_end() -> None:
    decoder = Decoder()
    stream = frame(BINARY, b"ab", final=False) + frame(CONTINUATION, b"cd") + frame(BINARY, b"e")

    events = [e for part in (stream[:3], stream[3:]) for e in decoder.receive(part)]

    assert [(bytes(e.data), e.first, e.last) for e in events if isinstance(e, Piece)] == [
        (b"a", True, False),
        (b"b", False, False),
        (b"cd", False, True),
        (b"e", True, True),
    ]


def test_first_piece_comes_with_data_although_the_first_frame_is_empty() -> None:
    events = Decoder().receive(frame(BINARY, b"", final=False) + frame(CONTINUATION, b"x"))

    assert [(bytes(e.data), e.first, e.last) for e in events if isinstance(e, Piece)] == [
        (b"x", True, True)
    ]


def test_empty_message_is_one_empty_piece() -> None:
    (event,) = Decoder().receive(frame(BINARY, b""))

    assert isinstance(event, Piece)
    assert (bytes(event.data), event.first, event.last) == (b"", True, True)


@pytest.mark.parametrize(
    ("stream", "code", "reason"),
    [
        (frame(1, b"hi"), 1003, "a text message"),
        (frame(3, b""), 1002, "the unknown opcode 3"),
        (frame(11, b""), 1002, "the unknown opcode 11"),
        (frame(CONTINUATION, b"x"), 1002, "a stray continuation"),
        (frame(BINARY, b"x", final=False) + frame(BINARY, b"y"), 1002, "a new message inside"),
        (frame(PING, b"", final=False), 1002, "in fragments"),
        (frame(PING, bytes(126)), 1002, "too long"),
        (b"\xc2\x01x", 1002, "reserved bits"),
        (b"\x82\x81\0\0\0\0x", 1002, "masked"),
        (b"\x82\x7e\0\x05hello", 1002, "shortest form"),
        (b"\x82\x7f\0\0\0\0\0\0\xff\xff", 1002, "shortest form"),
        (b"\x82\x7f\x80\0\0\0\0\0\0\0", 1002, "shortest form"),
        (b"\x82\x7f\0\0\0\0\x10\0\0\0", 1009, "larger than allowed"),
        (frame(CLOSE, b"\x03"), 1002, "without a valid code"),
        (frame(CLOSE, b"\x03\xed"), 1002, "without a valid code"),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007, "not UTF-8"),
    ],
)
def test_violation_has_the_close_code_of_the_rfc(stream: bytes, code: int, reason: str) -> None:
    decoder = Decoder()

    violation = decoder.receive(stream)[-1]

    assert isinstance(violation, websocket.Violation)
    assert violation.code == code
    assert reason in violation.reason
    assert decoder.receive(frame(BINARY, b"more")) == []


def test_message_that_grows_too_large_in_fragments_is_a_violation() -> None:
    decoder = Decoder(max_message_bytes=10)
    stream = frame(BINARY, bytes(10)) + frame(BINARY, bytes(6), final=False)

    assert not any(isinstance(e, websocket.Violation) for e in decoder.receive(stream))
    (violation,) = decoder.receive(frame(CONTINUATION, bytes(5)))

    assert isinstance(violation, websocket.Violation)
    assert violation.code == 1009


def test_nothing_is_given_behind_a_close() -> None:
    decoder = Decoder()

    (close,) = decoder.receive(frame(CLOSE, b"\x03\xe9bye") + frame(BINARY, b"x"))

    assert isinstance(close, websocket.Close)
    assert (close.code, close.reason) == (1001, "bye")
    assert decoder.receive(frame(BINARY, b"x")) == []


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1 << 20])
def test_message_head_masks_with_zero(size: int) -> None:
    head = websocket.message_head(size)

    assert head[0] == 0x82
    assert head[1] & 0x80
    assert head[-4:] == bytes(4)
    # Without the mask it is what a server sends, which the reference can read.
    server = bytes((head[0], head[1] & 0x7F)) + head[2:-4]
    assert reference(server + bytes(size)) == [("message", bytes(size))]


@given(st.binary(max_size=125))
def test_pong_repeats_the_payload(payload: bytes) -> None:
    sent = websocket.pong(payload)

    assert sent == bytes((0x8A, 0x80 | len(payload), 0, 0, 0, 0)) + payload


@given(st.text(max_size=300))
def test_close_keeps_what_fits_of_the_reason(reason: str) -> None:
    sent = websocket.close(websocket.CloseCode.NORMAL, reason)

    size = sent[1] & 0x7F
    assert sent[:1] == b"\x88"
    assert size == len(sent) - 6
    assert size <= 125
    assert sent[6:8] == struct.pack(">H", 1000)
    assert reason.startswith(sent[8:].decode())
    assert len(reason.encode()) - len(sent[8:]) < 4 or size > 121


def test_close_without_a_code_is_empty() -> None:
    assert websocket.close(websocket.CloseCode.NONE_GIVEN) == b"\x88\x80\0\0\0\0"


def test_accept_is_that_of_the_rfc() -> None:
    assert websocket.accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_keys_are_new_each_time() -> None:
    assert websocket.new_key() != websocket.new_key()
    assert len(websocket.new_key()) == 24
