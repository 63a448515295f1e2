from __future__ import annotations

import json
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.wire import frames
from towline.wire.frames import Decoder, FrameType, ProtocolError, VersionMismatch

HELLO = frames.encode_hello({})
DATA, PING = FrameType.DATA, FrameType.PING

Told = list[tuple[int, int, bytes]]

sendable = st.one_of(
    st.builds(
        frames.encode,
        st.just(DATA),
        st.integers(1, frames.MAX_STREAM),
        st.binary(max_size=30),
    ),
    st.builds(
        frames.encode_ping, st.sampled_from([PING, FrameType.PONG]), st.integers(0, 2**64 - 1)
    ),
    st.builds(
        frames.encode_credit,
        st.sampled_from([FrameType.WINDOW, FrameType.RETURN]),
        st.integers(1, 9),
        st.integers(0, 2**32 - 1),
    ),
    st.builds(frames.encode, st.just(FrameType.GOAWAY), st.just(0), st.binary(max_size=40)),
)


def raw(kind: int, stream: int, payload: bytes) -> bytes:
    return struct.pack("!II", kind << 24 | len(payload), stream) + payload


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


def decode(parts: list[bytes]) -> Told:
    """All frames in the parts; the pieces of one stream's data in a row are joined."""
    decoder = Decoder()
    told: Told = []
    for part in parts:
        for kind, stream, payload in decoder.receive(part):
            if told and kind == DATA and told[-1][:2] == (DATA, stream):
                told[-1] = (DATA, stream, told[-1][2] + bytes(payload))
            else:
                told.append((kind, stream, bytes(payload)))
    return told


@given(st.lists(sendable, max_size=12), st.lists(st.integers(min_value=0), max_size=12))
def test_decoder_reads_the_same_however_the_bytes_are_cut(
    sent: list[bytes], places: list[int]
) -> None:
    stream = HELLO + b"".join(sent)

    expected = decode([HELLO, *sent])

    assert decode(cut(stream, places)) == expected
    assert decode([stream[i : i + 1] for i in range(len(stream))]) == expected


@given(st.integers(1, 65536), st.lists(st.integers(min_value=0), max_size=5))
def test_decoder_gives_all_of_a_large_frame_however_it_is_cut(size: int, places: list[int]) -> None:
    payload = (b"0123456789abcde" * 4370)[:size]
    stream = HELLO + raw(DATA, 9, payload) + frames.encode_credit(FrameType.WINDOW, 9, 1)

    assert decode(cut(stream, places))[1:] == [
        (DATA, 9, payload),
        (FrameType.WINDOW, 9, bytes((0, 0, 0, 1))),
    ]


def test_decoder_gives_views_of_data_without_a_copy() -> None:
    decoder = Decoder()
    list(decoder.receive(HELLO))
    received = raw(DATA, 1, b"some bytes") + raw(DATA, 3, b"more")[:-1]

    told = list(decoder.receive(received))

    assert [bytes(payload) for _, _, payload in told] == [b"some bytes", b"mor"]
    assert all(isinstance(view, memoryview) and view.obj is received for _, _, view in told)


def test_decoder_gives_data_as_it_comes() -> None:
    decoder = Decoder()
    list(decoder.receive(HELLO))
    frame = raw(DATA, 5, b"abcdef")

    told = [decoder.receive(part) for part in (frame[:8], frame[8:11], frame[11:])]

    assert [[bytes(view) for _, _, view in call] for call in told] == [[], [b"abc"], [b"def"]]


def test_decoder_skips_nothing_of_an_unknown_frame_that_may_be_ignored() -> None:
    unknown = raw(0xFE, 77, b"from the future")

    assert decode([HELLO, unknown, raw(DATA, 1, b"x")])[1:] == [
        (0xFE, 77, b"from the future"),
        (DATA, 1, b"x"),
    ]


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (raw(0x0C, 1, b""), "unknown frame type 0x0c"),
        (raw(0x7F, 0, b""), "unknown frame type 0x7f"),
        (raw(0xFE, 0, bytes(frames.MAX_CONTROL_BYTES + 1))[:8], "0xfe with 65537 bytes"),
        (raw(DATA, 1, bytes(frames.MAX_DATA_BYTES + 1))[:8], "0x00 with 65537 bytes"),
        (raw(DATA, 0, b"x"), "0x00 on stream 0"),
        (raw(FrameType.OPEN, 1, b""), "0x02 with 0 bytes"),
        (raw(FrameType.OPEN, 1, bytes(1026)), "0x02 with 1026 bytes"),
        (raw(FrameType.ACCEPT, 1, b"x"), "0x03 with 1 bytes"),
        (raw(FrameType.EOF, 0, b""), "0x04 on stream 0"),
        (raw(FrameType.RESET, 1, b""), "0x05 with 0 bytes"),
        (raw(FrameType.WINDOW, 1, bytes(5)), "0x06 with 5 bytes"),
        (raw(PING, 0, bytes(7)), "0x07 with 7 bytes"),
        (raw(PING, 1, bytes(8)), "0x07 on stream 1"),
        (raw(FrameType.BLOCKED, 0, b""), "0x8a on stream 0"),
        (HELLO, "begin with one hello"),
    ],
)
def test_decoder_refuses_what_no_peer_may_send(frame: bytes, says: str) -> None:
    decoder = Decoder()
    list(decoder.receive(HELLO))

    with pytest.raises(ProtocolError, match=says):
        list(decoder.receive(frame))


@pytest.mark.parametrize(
    "first", [raw(DATA, 1, b"x"), raw(PING, 0, bytes(8)), raw(0xFE, 0, b""), b"HTTP/1.1 400 Bad"]
)
def test_decoder_refuses_another_beginning_than_a_hello(first: bytes) -> None:
    with pytest.raises(ProtocolError, match="begin with one hello"):
        list(Decoder().receive(first[:8]))


@given(st.binary(max_size=60), st.lists(st.integers(min_value=0), max_size=5), st.booleans())
def test_decoder_raises_nothing_but_protocol_errors(
    garbage: bytes, places: list[int], greeted: bool
) -> None:
    decoder = Decoder()
    if greeted:
        list(decoder.receive(HELLO))
    try:
        for part in cut(garbage, places):
            list(decoder.receive(part))
    except ProtocolError:
        pass


def payload_of(frame: bytes) -> bytes:
    return frame[frames.HEADER_BYTES :]


def test_hello_carries_properties() -> None:
    properties = {"version": "0.1", "kinds": [1, 2], "text": "ä"}

    assert frames.decode_hello(payload_of(frames.encode_hello(properties))) == properties


def test_hello_starts_the_same_in_every_version() -> None:
    assert HELLO.hex(" ", 4) == "01000008 00000000 544f574c 00017b7d"


def test_hello_of_another_version_names_both() -> None:
    with pytest.raises(VersionMismatch, match=r"version 7 .* not ours, 1") as caught:
        frames.decode_hello(b"TOWL\x00\x07what that version says")

    assert (caught.value.ours, caught.value.theirs) == (1, 7)


@pytest.mark.parametrize(
    "payload",
    [
        b"LWOT\x00\x01{}",
        b"TOWL\x00\x01",
        b"TOWL\x00\x01[]",
        b"TOWL\x00\x01{",
        b"TOWL\x00\x01\xff",
        b"TOWL\x00\x01" + "{}".encode("utf-16"),
        b"TOWL\x00\x01" + b"[" * 60000,
    ],
)
def test_hello_that_is_none_is_a_protocol_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        frames.decode_hello(payload)


@given(st.binary(max_size=40))
def test_hello_raises_nothing_but_protocol_errors(tail: bytes) -> None:
    try:
        properties = frames.decode_hello(b"TOWL\x00\x01" + tail)
    except ProtocolError:
        return
    assert properties == json.loads(tail)


def test_hello_that_is_too_long_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="too long"):
        frames.encode_hello({"x": "y" * frames.MAX_CONTROL_BYTES})


def test_frames_look_as_documented() -> None:
    examples = {
        frames.encode(FrameType.OPEN, 1, b"\x01web"): "02000004 00000001 01776562",
        frames.encode(FrameType.RESET, 1, b"\x01"): "05000001 00000001 01",
        frames.encode_credit(FrameType.WINDOW, 3, 65536): "06000004 00000003 00010000",
        frames.encode_credit(FrameType.RETURN, 3, 65536): "0b000004 00000003 00010000",
        frames.encode_ping(PING, 258): "07000008 00000000 0000000000000102",
        frames.encode(FrameType.BLOCKED, 2): "8a000000 00000002",
        frames.encode(DATA, 2, b"hi"): "00000002 00000002 6869",
    }

    assert {frame: bytes.fromhex(text) for frame, text in examples.items()} == {
        frame: frame for frame in examples
    }
