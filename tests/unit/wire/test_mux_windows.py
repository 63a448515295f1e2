from __future__ import annotations

import pytest

from tests.unit.wire.muxends import FIRST, MAX_WINDOW, WINDOW, Ends, data_of, out, raw
from towline.wire import frames, mux
from towline.wire.budget import Budget
from towline.wire.events import Accepted, Credit
from towline.wire.frames import FrameType, Kind, ProtocolError, Reason
from towline.wire.windows import PART, PLENTY


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
        ends.client.receive(frames.encode_credit(FrameType.WINDOW, stream, mux.MAX_CREDIT))


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

    assert sent == [WINDOW, FIRST, 2 * FIRST, MAX_WINDOW, MAX_WINDOW]


def test_window_grows_to_a_part_of_a_budget_that_has_plenty() -> None:
    ends = Ends(Budget(10 * PART * FIRST), max_window=100 * FIRST)
    stream = ends.stream()

    sent = [send_all(ends, stream, read=True) for _ in range(4)]

    assert sent == pytest.approx([WINDOW, FIRST, 10 * FIRST, 20 * FIRST], rel=0.03)


def test_window_is_small_until_its_reader_has_read_something(ends: Ends) -> None:
    stream = ends.stream()
    send_all(ends, stream, read=True)

    assert [send_all(ends, stream, read=False) for _ in range(3)] == [FIRST, 0, 0]


def test_window_grows_when_the_reader_has_caught_up_before_more_comes(ends: Ends) -> None:
    stream = ends.stream()
    send_all(ends, stream, read=False)
    ends.server.consumed(stream, WINDOW)
    ends.pass_on()

    assert ends.client.credit(stream) == FIRST


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


# -- the beginning


@pytest.mark.parametrize("kind", [Kind.TCP, Kind.INCOMING])
def test_connection_begins_with_its_first_growth_in_both_directions(ends: Ends, kind: Kind) -> None:
    stream = ends.stream(kind)

    assert ends.client.credit(stream) == ends.server.credit(stream) == FIRST


def test_connections_begin_small_when_many_have_begun_with_more() -> None:
    ends = Ends(Budget(trust=10 * PLENTY * FIRST))
    streams = [ends.stream(Kind.TCP) for _ in range(500)]

    credit = [ends.client.credit(stream) for stream in streams]
    assert credit[:10] == [FIRST] * 10
    assert credit[-400:] == [WINDOW] * 400
    assert ends.budget.trust > (PLENTY - 1) * FIRST
    assert [send_all(ends, streams[-1], read=True) for _ in range(2)] == pytest.approx(
        [WINDOW, FIRST / 2], rel=0.2
    )


def test_connection_that_ended_before_it_was_accepted_is_granted_nothing(ends: Ends) -> None:
    stream = ends.client.open(Kind.TCP)
    ends.client.send_eof(stream)
    ends.pass_on()
    ends.server.accept(stream)

    assert ends.pass_on() == ([Accepted(stream)], [])


def test_trust_of_a_connection_comes_back_when_it_ends(ends: Ends) -> None:
    before = vars(ends.budget).copy()
    stream = ends.stream(Kind.TCP)
    assert vars(ends.budget) != before
    ends.client.reset(stream, Reason.CANCELLED)
    ends.pass_on()

    assert vars(ends.budget) == before


# -- the budget


def grown(ends: Ends, rounds: int = 9) -> int:
    """A stream whose reader keeps up until its window grows no more."""
    stream = ends.stream()
    for _ in range(rounds):
        send_all(ends, stream, read=True)
    return stream


def test_growth_is_shared_by_all_streams_and_leaves_something_for_the_next() -> None:
    ends = Ends(Budget(16 * FIRST), max_window=100 * FIRST)

    windows = [ends.client.credit(grown(ends, 20)) - WINDOW for _ in range(4)]

    expected = [8 * FIRST, 4 * FIRST, 2 * FIRST, FIRST]
    assert windows == pytest.approx(expected, rel=0.01)


def test_streams_that_stall_from_the_beginning_leave_growth_to_those_that_are_read() -> None:
    ends = Ends(Budget(20 * FIRST, trust=2 * FIRST))
    stalled = [ends.stream() for _ in range(50)]
    for stream in stalled:
        send_all(ends, stream, read=True)  # as much as the kernel takes for it
    held = sum(send_all(ends, stream, read=False) for stream in stalled)
    assert held <= 2 * FIRST + len(stalled) * WINDOW

    new = ends.stream()
    assert sum(send_all(ends, new, read=True) for _ in range(30)) > MAX_WINDOW


@pytest.mark.parametrize("end", ["reset", "reset by the peer", "eof", "link"])
def test_growth_comes_back_when_a_stream_ends(end: str) -> None:
    ends = Ends()
    before = vars(ends.budget).copy()
    stream = grown(ends)
    assert vars(ends.budget) != before

    if end == "reset":
        ends.server.reset(stream, Reason.CANCELLED)
    elif end == "reset by the peer":
        ends.client.reset(stream, Reason.CANCELLED)
    elif end == "eof":
        ends.client.send_eof(stream)
    else:
        ends.server.close()
    if end != "link":
        ends.pass_on()
    assert vars(ends.budget) == before


def test_growth_of_a_stream_that_ended_unread_comes_back_as_it_is_read() -> None:
    ends = Ends()
    before = ends.budget.growth
    stream = grown(ends)
    sent = send_all(ends, stream, read=False)
    ends.client.send_eof(stream)
    ends.server.send_eof(stream)
    ends.pass_on()
    assert ends.budget.growth == before + WINDOW - sent

    ends.server.consumed(stream, sent - WINDOW)
    assert ends.budget.growth == before
    with pytest.raises(ValueError, match="consumed"):
        ends.server.consumed(stream, WINDOW + 1)
    ends.server.consumed(stream, WINDOW)
    ends.server.consumed(stream, 1)  # forgotten by now, like any that has ended


def test_trust_comes_back_when_the_reader_has_read() -> None:
    ends = Ends()
    before = ends.budget.trust
    stream = ends.stream()
    send_all(ends, stream, read=True)
    assert ends.budget.trust < before
    send_all(ends, stream, read=True)
    assert ends.budget.trust == before


def test_budget_is_shared_by_several_links() -> None:
    budget = Budget(16 * FIRST)
    links = [Ends(budget, max_window=100 * FIRST) for _ in range(2)]
    windows = [ends.client.credit(grown(ends, 20)) - WINDOW for ends in links]

    assert windows == pytest.approx([8 * FIRST, 4 * FIRST], rel=0.01)


# -- credit that is returned


def test_credit_that_is_not_used_is_returned_for_others(ends: Ends) -> None:
    before = ends.budget.growth
    stream = grown(ends)
    ends.client.send(stream, b"not quite idle")
    for _ in range(2):  # it counts as idle from the one to the next
        assert ends.client.credit(stream) == MAX_WINDOW - 14
        ends.client.give_back()
        ends.pass_on()

    assert ends.client.credit(stream) == WINDOW
    ends.server.consumed(stream, 14)
    assert ends.budget.growth == before - 14


def test_stream_that_returned_its_credit_gets_it_again(ends: Ends) -> None:
    stream = grown(ends)
    for _ in range(2):
        ends.client.give_back()
    ends.pass_on()

    assert [send_all(ends, stream, read=True) for _ in range(3)] == [WINDOW, 2 * FIRST, MAX_WINDOW]


def test_stream_without_more_than_a_first_window_returns_nothing(ends: Ends) -> None:
    ends.stream()
    for _ in range(3):
        ends.client.give_back()

    assert out(ends.client) == b""


def test_more_cannot_be_returned_than_was_granted(ends: Ends) -> None:
    stream = ends.stream()

    with pytest.raises(ProtocolError, match="1001 bytes returned of 1000"):
        ends.server.receive(frames.encode_credit(FrameType.RETURN, stream, WINDOW + 1))


def test_no_credit_is_given_after_the_eof(ends: Ends) -> None:
    stream = ends.stream()
    ends.client.send(stream, bytes(WINDOW))
    ends.client.send_eof(stream)
    ends.pass_on()
    ends.server.consumed(stream, WINDOW)

    assert out(ends.server) == b""
