from __future__ import annotations

import pytest

from tests.unit.wire.muxends import WINDOW, Ends, data_of, out, raw
from towline.wire import frames, mux
from towline.wire.events import Credit
from towline.wire.frames import FrameType, ProtocolError, Reason


@pytest.fixture
def ends() -> Ends:
    return Ends()


def test_credit_is_what_the_window_leaves(ends: Ends) -> None:
    stream = ends.stream()
    ends.client.send(stream, bytes(400))

    assert ends.client.credit(stream) == WINDOW - 400
    with pytest.raises(ValueError, match="601 bytes on stream 1 with credit for 600"):
        ends.client.send(stream, bytes(601))


def test_credit_comes_back_a_quarter_of_the_window_at_a_time(ends: Ends) -> None:
    stream = ends.stream()
    ends.client.send(stream, bytes(600))
    ends.pass_on()

    ends.server.consumed(stream, WINDOW // 4 - 1)
    assert ends.pass_on() == ([], [])
    ends.server.consumed(stream, 1)
    assert ends.pass_on() == ([Credit(stream)], [])
    assert ends.client.credit(stream) == WINDOW - 600 + WINDOW // 4


def test_more_cannot_be_consumed_than_came(ends: Ends) -> None:
    stream = ends.stream()
    ends.client.send(stream, bytes(10))
    ends.pass_on()

    for size in (11, -1):
        with pytest.raises(ValueError, match="consumed"):
            ends.server.consumed(stream, size)


def test_peer_that_sends_beyond_the_window_is_refused(ends: Ends) -> None:
    stream = ends.stream()

    with pytest.raises(ProtocolError, match="1 bytes over its window"):
        ends.server.receive(raw(FrameType.DATA, stream, bytes(WINDOW + 1)))


def test_peer_that_grants_too_much_is_refused(ends: Ends) -> None:
    stream = ends.stream()

    with pytest.raises(ProtocolError, match="credit"):
        ends.client.receive(frames.encode_window(stream, mux.MAX_CREDIT))


def send_all(ends: Ends, stream: int, *, read: bool) -> int:
    """Let the client send what it may; the server reads or stalls. Returns the bytes sent."""
    size = ends.client.credit(stream)
    ends.client.send(stream, bytes(size))
    came = data_of(ends.server.receive(out(ends.client)))
    if read:
        ends.server.consumed(stream, len(came))
    ends.pass_on()
    return len(came)


def test_window_grows_to_its_limit_while_the_reader_keeps_up(ends: Ends) -> None:
    stream = ends.stream()

    sent = [send_all(ends, stream, read=True) for _ in range(5)]

    assert sent == [WINDOW, 2 * WINDOW, 4 * WINDOW, 4 * WINDOW, 4 * WINDOW]


def test_window_of_a_stalled_reader_does_not_grow(ends: Ends) -> None:
    stream = ends.stream()

    assert [send_all(ends, stream, read=False) for _ in range(3)] == [WINDOW, 0, 0]


def test_window_of_a_slow_reader_does_not_grow(ends: Ends) -> None:
    stream = ends.stream()
    send_all(ends, stream, read=False)
    for _ in range(20):  # reads a little now and then; the sender always waits for it
        ends.server.consumed(stream, WINDOW // 4)
        ends.pass_on()
        assert send_all(ends, stream, read=False) == WINDOW // 4


def test_window_does_not_grow_for_a_sender_that_is_not_held_up(ends: Ends) -> None:
    stream = ends.stream()
    for _ in range(20):
        ends.client.send(stream, bytes(WINDOW // 2))
        ends.pass_on()
        ends.server.consumed(stream, WINDOW // 2)
        ends.pass_on()

    assert ends.client.credit(stream) == WINDOW


def test_growth_is_shared_by_all_streams_and_comes_back() -> None:
    ends = Ends(max_growth=4 * WINDOW)
    streams = [ends.stream() for _ in range(2)]
    for _ in range(4):
        for stream in streams:
            send_all(ends, stream, read=True)
    assert sum(send_all(ends, stream, read=True) for stream in streams) == 6 * WINDOW

    ends.client.reset(streams[0], Reason.CANCELLED)
    for _ in range(3):
        send_all(ends, streams[1], read=True)
    assert send_all(ends, streams[1], read=True) == 4 * WINDOW


def test_no_credit_is_given_after_the_eof(ends: Ends) -> None:
    stream = ends.stream()
    ends.client.send(stream, bytes(WINDOW))
    ends.client.send_eof(stream)
    ends.pass_on()
    ends.server.consumed(stream, WINDOW)

    assert out(ends.server) == b""
