from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import fuzz_mux
from tests.unit.wire.muxends import WINDOW, Ends, data_of, out, raw
from towline.wire import frames
from towline.wire.events import (
    Accepted,
    Credit,
    Data,
    Eof,
    GoAway,
    HelloReceived,
    Opened,
    Pong,
    Reset,
)
from towline.wire.frames import FrameType, Kind, ProtocolError, Reason, VersionMismatch
from towline.wire.mux import Mux, StreamClosed


@pytest.fixture
def ends() -> Ends:
    return Ends()


# -- hello


def test_hello_is_told_to_both_ends(ends: Ends) -> None:
    assert ends.told == (
        [HelloReceived(1, {"who": "server"})],
        [HelloReceived(1, {"who": "client"})],
    )


def test_hello_of_another_version_is_refused() -> None:
    with pytest.raises(VersionMismatch) as caught:
        Mux(client=True).receive(raw(FrameType.HELLO, 0, b"TOWL\x00\x09"))

    assert (caught.value.ours, caught.value.theirs) == (frames.PROTOCOL_VERSION, 9)


def test_first_flight_carries_hello_stream_and_data() -> None:
    client, server = Mux(client=True), Mux(client=False)
    stream = client.open(Kind.TCP, b"web")
    client.send(stream, b"GET /")
    client.send_eof(stream)

    told = server.receive(out(client))

    assert told[1:] == [Opened(1, Kind.TCP, b"web"), Credit(1), Data(1, b"GET /"), Eof(1)]


# -- streams


def test_both_ends_open_streams_of_their_own_numbers(ends: Ends) -> None:
    assert [ends.client.open(Kind.ECHO) for _ in range(3)] == [1, 3, 5]
    assert [ends.server.open(Kind.RESOLVE) for _ in range(2)] == [2, 4]
    client, server = ends.pass_on()
    assert client == [Opened(2, Kind.RESOLVE, b""), Opened(4, Kind.RESOLVE, b"")]
    assert server == [Opened(n, Kind.ECHO, b"") for n in (1, 3, 5)]


def test_accept_is_told_to_the_opener(ends: Ends) -> None:
    stream = ends.client.open(Kind.ECHO)
    ends.pass_on()
    ends.server.accept(stream)

    assert ends.pass_on() == ([Accepted(stream)], [])


def test_data_goes_both_ways_and_ends_by_half(ends: Ends) -> None:
    stream = ends.stream()
    ends.client.send(stream, b"question")
    ends.client.send_eof(stream)
    _, server = ends.pass_on()
    ends.server.send(stream, b"answer")
    ends.server.send_eof(stream)
    client, _ = ends.pass_on()

    assert server == [Data(stream, b"question"), Eof(stream)]
    assert client == [Data(stream, b"answer"), Eof(stream)]


def test_stream_is_gone_after_both_eofs(ends: Ends) -> None:
    stream = ends.stream()
    ends.client.send_eof(stream)
    ends.server.send_eof(stream)
    ends.pass_on()

    for end in (ends.client, ends.server):
        assert end.credit(stream) == 0
        with pytest.raises(StreamClosed):
            end.send(stream, b"x")


def test_nothing_is_sent_after_our_eof(ends: Ends) -> None:
    stream = ends.stream()
    ends.client.send_eof(stream)

    assert ends.client.credit(stream) == 0
    with pytest.raises(StreamClosed):
        ends.client.send(stream, b"x")
    with pytest.raises(StreamClosed):
        ends.client.send_eof(stream)


def test_nothing_is_sent_before_accepting(ends: Ends) -> None:
    stream = ends.client.open(Kind.TCP)
    ends.pass_on()

    with pytest.raises(ValueError, match="not accepted"):
        ends.server.send(stream, b"x")


def test_only_the_opened_end_accepts_and_once(ends: Ends) -> None:
    stream = ends.stream()

    for end in (ends.client, ends.server):
        with pytest.raises(ValueError, match="not to be accepted"):
            end.accept(stream)


def test_empty_data_is_not_sent(ends: Ends) -> None:
    ends.client.send(ends.stream(), b"")

    assert out(ends.client) == b""


def test_target_that_is_too_long_is_refused(ends: Ends) -> None:
    with pytest.raises(ValueError, match="too long"):
        ends.client.open(Kind.TCP, bytes(frames.MAX_TARGET_BYTES + 1))


@pytest.mark.parametrize("reason", sorted(set(Reason) - {Reason.LINK_LOST}))
def test_reset_carries_its_reason(ends: Ends, reason: Reason) -> None:
    stream = ends.client.open(Kind.TCP)
    ends.pass_on()
    ends.server.reset(stream, reason)

    assert ends.pass_on() == ([Reset(stream, reason)], [])


@pytest.mark.parametrize("code", [200, 255])
def test_reset_for_an_unknown_reason_is_internal(ends: Ends, code: int) -> None:
    stream = ends.stream()

    assert ends.client.receive(raw(FrameType.RESET, stream, bytes((code,)))) == [
        Reset(stream, Reason.INTERNAL)
    ]


def test_reset_ends_the_stream_for_both(ends: Ends) -> None:
    stream = ends.stream()
    ends.server.reset(stream, Reason.RESET)
    ends.pass_on()

    for end in (ends.client, ends.server):
        end.reset(stream, Reason.RESET)
        end.consumed(stream, 1)
        with pytest.raises(StreamClosed):
            end.send_eof(stream)
    assert ends.pass_on() == ([], [])


def test_frames_that_cross_a_reset_are_ignored(ends: Ends) -> None:
    stream = ends.stream()
    ends.server.send(stream, bytes(WINDOW))
    ends.server.send_eof(stream)
    ends.client.reset(stream, Reason.CANCELLED)

    assert ends.client.receive(out(ends.server)) == []
    assert ends.server.receive(out(ends.client)) == [Reset(stream, Reason.CANCELLED)]


def test_rest_of_a_frame_that_a_reset_cuts_is_ignored(ends: Ends) -> None:
    stream = ends.stream()
    ends.server.send(stream, b"half and half")
    ends.server.ping(7)
    sent = out(ends.server)
    first = ends.client.receive(sent[:15])
    ends.client.reset(stream, Reason.CANCELLED)

    assert data_of(first) == b"half an"
    assert ends.client.receive(sent[15:]) == []
    assert out(ends.client)[9:] == frames.encode_ping(FrameType.PONG, 7)


def test_unknown_kind_is_reset_by_the_mux(ends: Ends) -> None:
    stream = ends.client.open(Kind.TCP)
    assert ends.server.receive(raw(FrameType.OPEN, stream, b"\x63target")) == []
    assert ends.client.receive(out(ends.server)) == [Reset(stream, Reason.UNSUPPORTED)]


def test_streams_beyond_the_limit_are_reset_until_others_end() -> None:
    ends = Ends(max_streams=2)
    first, _, third = (ends.client.open(Kind.TCP) for _ in range(3))
    assert ends.pass_on()[0] == [Reset(third, Reason.EXHAUSTED)]

    ends.server.reset(first, Reason.REFUSED)
    fourth = ends.client.open(Kind.TCP)

    assert Opened(fourth, Kind.TCP, b"") in ends.pass_on()[1]


def test_ids_that_are_used_up_are_not_used_again(ends: Ends) -> None:
    ends.server.receive(raw(FrameType.OPEN, frames.MAX_STREAM, b"\x01"))

    with pytest.raises(ProtocolError, match="out of turn"):
        ends.server.receive(raw(FrameType.OPEN, frames.MAX_STREAM, b"\x01"))


# -- the link


def test_ping_is_answered_with_its_token(ends: Ends) -> None:
    ends.client.ping(2**64 - 1)

    assert ends.pass_on() == ([Pong(2**64 - 1)], [])


def test_goaway_lets_streams_finish_and_opens_no_new_ones(ends: Ends) -> None:
    stream = ends.stream()
    crossing = ends.client.open(Kind.TCP)
    ends.server.go_away("the pod is being deleted")
    ends.client.send(stream, b"still here")

    client, server = ends.pass_on()

    assert client == [
        GoAway("the pod is being deleted"),
        Reset(crossing, Reason.GOING_AWAY),
    ]
    assert server == [Data(stream, b"still here")]
    for end in (ends.client, ends.server):
        with pytest.raises(StreamClosed):
            end.open(Kind.TCP)


def test_unknown_frames_that_may_be_ignored_are(ends: Ends) -> None:
    stream = ends.stream()

    assert ends.client.receive(raw(0x80, 0) + raw(0xFF, 12345, b"?") + raw(0, stream, b"x")) == [
        Data(stream, b"x")
    ]


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (raw(FrameType.OPEN, 2, b"\x01"), "stream 2: opened out of turn"),
        (raw(FrameType.OPEN, 1, b"\x01"), "stream 1: opened out of turn"),
        (raw(FrameType.DATA, 5, b"x"), "stream 5: never opened"),
        (raw(FrameType.DATA, 2, b"x"), "stream 2: never opened"),
        (raw(FrameType.EOF, 7), "stream 7: never opened"),
        (raw(FrameType.WINDOW, 7, bytes(4)), "stream 7: never opened"),
        (raw(FrameType.RESET, 7, b"\x01"), "stream 7: never opened"),
        (raw(FrameType.BLOCKED, 7), "stream 7: never opened"),
        (raw(FrameType.ACCEPT, 7), "stream 7: never opened"),
        (raw(FrameType.ACCEPT, 1), "stream 1: not for the peer to accept"),
        (raw(FrameType.EOF, 1) + raw(FrameType.DATA, 1, b"x"), "stream 1: data after its end"),
        (raw(FrameType.EOF, 1) + raw(FrameType.EOF, 1), "stream 1: data after its end"),
    ],
)
def test_server_refuses_what_no_client_may_send(ends: Ends, frame: bytes, says: str) -> None:
    assert ends.stream() == 1

    with pytest.raises(ProtocolError, match=says):
        ends.server.receive(frame)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (raw(FrameType.DATA, 1, b"x"), "stream 1: data before it was accepted"),
        (raw(FrameType.EOF, 1), "stream 1: data before it was accepted"),
        (raw(FrameType.ACCEPT, 1) + raw(FrameType.ACCEPT, 1), "stream 1: not for the peer"),
    ],
)
def test_client_refuses_what_no_server_may_send(ends: Ends, frame: bytes, says: str) -> None:
    assert ends.client.open(Kind.TCP) == 1

    with pytest.raises(ProtocolError, match=says):
        ends.client.receive(frame)


# -- buffers


def test_bulk_payload_is_neither_copied_nor_joined(ends: Ends) -> None:
    big = Mux(client=True, initial_window=1 << 20)
    stream = big.open(Kind.TCP)
    out(big)
    payload = bytes(3 * frames.MAX_DATA_BYTES // 2)
    big.send(stream, payload)

    buffers = big.take_output()

    assert [len(buffer) for buffer in buffers] == [8, 65536, 8, 32768]
    assert all(isinstance(b, memoryview) and b.obj is payload for b in buffers[1::2])


def test_small_payload_leaves_in_one_buffer_with_its_header(ends: Ends) -> None:
    stream = ends.stream()
    ends.client.send(stream, memoryview(b"small"))

    assert ends.client.take_output() == [raw(FrameType.DATA, stream, b"small")]


def test_output_is_given_once(ends: Ends) -> None:
    ends.client.ping(1)

    assert ends.client.take_output() != []
    assert ends.client.take_output() == []


# -- garbage


def test_fuzzing_finds_nothing() -> None:
    assert fuzz_mux.run(seconds=60, seed=1, most=500) == 500


@given(st.binary(max_size=200))
def test_arbitrary_bytes_after_the_hello_are_events_or_a_protocol_error(data: bytes) -> None:
    fuzz_mux.target(b"\x00" + frames.encode_hello({}) + data)
