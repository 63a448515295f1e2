from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest

from tests.unit.relay.links import Memory, MemoryTransport, Recorder, memory, tcp_pair
from towline.relay import peer as peer_module
from towline.relay.peer import LinkLost, Peer
from towline.wire import frames
from towline.wire.frames import FrameType, Kind, ProtocolError, Reason, VersionMismatch
from towline.wire.mux import Mux

HELLO = frames.encode_hello({"who": "test"})


def alone(**options: Any) -> tuple[Peer, MemoryTransport]:
    """A peer whose other end the test plays."""
    peer = Peer(Mux(client=True), **options)
    return peer, MemoryTransport(peer)


# -- hello


async def test_ready_gives_the_hello_of_the_other_end() -> None:
    peer, transport = alone()
    waiting = asyncio.create_task(peer.ready())
    await asyncio.sleep(0)
    peer.data_received(HELLO)

    assert (await waiting).properties == {"who": "test"}
    assert transport.writes[0] == frames.encode_hello({})
    peer.abort()


async def test_ready_raises_when_the_versions_differ() -> None:
    lost: list[BaseException | None] = []
    peer, transport = alone(on_lost=lost.append)
    peer.data_received(HELLO.replace(b"TOWL\x00\x01", b"TOWL\x00\x05"))

    with pytest.raises(VersionMismatch, match="version 5"):
        await peer.ready()
    assert [type(error) for error in lost] == [VersionMismatch]
    assert transport.ended


async def test_ready_raises_when_the_link_is_lost_before() -> None:
    peer, _ = alone()
    peer.connection_lost(ConnectionResetError("gone"))

    with pytest.raises(ConnectionResetError):
        await peer.ready()


async def test_ready_that_is_cancelled_leaves_the_peer_alone() -> None:
    peer, _ = alone()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(peer.ready(), 0)
    peer.data_received(HELLO)

    assert (await peer.ready()).version == frames.PROTOCOL_VERSION
    peer.abort()


# -- streams


async def test_stream_tells_its_handler_what_comes() -> None:
    async with memory() as link:
        near = Recorder(link.near.open(Kind.TCP, b"there"))
        near.stream.send(b"at once")
        await link.carry()
        far = link.opened[0]
        far.stream.accept()
        far.stream.send(b"answer")
        far.stream.send_eof()
        await link.carry()
        near.stream.send_eof()
        await link.carry()

        assert far.told == [(Kind.TCP, b"there"), b"at once", "eof"]
        assert near.told == ["accepted", b"answer", "eof"]
        assert link.near.streams == link.far.streams == {}


async def test_first_data_leaves_together_with_the_opening() -> None:
    async with memory() as link:
        near = Recorder(link.near.open(Kind.TCP, b"there", data=b"at once"))
        await asyncio.sleep(0)
        assert len(link.near_transport.writes) == 1
        await link.carry()

        assert link.opened[0].told == [(Kind.TCP, b"there"), b"at once"]
        assert near.stream.credit == link.near.open(Kind.TCP).credit - 7


async def test_all_that_came_is_told_even_if_the_handler_ends_its_side_meanwhile() -> None:
    async with memory() as link:
        near, far = await link.stream()
        far.stream.send(b"one")
        far.stream.send(b"two")
        far.stream.send_eof()
        await asyncio.sleep(0)
        near.data = lambda data: (Recorder.data(near, data), near.stream.send_eof())
        await link.carry()

        assert near.told == [b"one", b"two", "eof"]
        assert far.told == ["eof"]
        assert link.near.streams == link.far.streams == {}


async def test_reset_is_told_to_the_other_end_only() -> None:
    async with memory() as link:
        near, far = await link.stream()
        near.stream.reset(Reason.CANCELLED)
        await link.carry()

        assert (near.told, far.told) == ([], [Reason.CANCELLED])
        assert link.near.streams == link.far.streams == {}


async def test_stream_that_has_ended_does_nothing() -> None:
    async with memory() as link:
        near, far = await link.stream()
        near.stream.reset(Reason.RESET)
        await link.carry()
        for stream in (near.stream, far.stream):
            assert stream.closed
            assert stream.credit == 0
            stream.accept()
            stream.send(b"x")
            stream.consumed(1)
            stream.send_eof()
            stream.reset(Reason.INTERNAL)
        await asyncio.sleep(0)

        assert link.near_transport.writes == link.far_transport.writes == []


async def test_stream_that_the_same_bytes_open_and_reset_does_no_harm() -> None:
    async with memory() as link:
        stream = link.near.open(Kind.TCP)
        stream.reset(Reason.CANCELLED)
        link.near.mux.ping(1)
        accepted: list[Recorder] = []

        def accept(stream: Any, *_: Any) -> None:
            accepted.append(Recorder(stream))
            stream.accept()
            stream.send(b"too late")

        link.on_opened = accept
        await link.carry()

        assert accepted[0].told == [Reason.CANCELLED]


async def test_stream_that_nobody_takes_is_reset() -> None:
    async with memory() as link:
        link.on_opened = lambda *_: None
        near = Recorder(link.near.open(Kind.TCP))
        await link.carry()

        assert near.told == [Reason.UNSUPPORTED]
        assert link.far.streams == {}


async def test_peer_without_a_listener_takes_no_streams() -> None:
    async with memory() as link:
        far = Recorder(link.far.open(Kind.TCP))
        await link.carry()

        assert far.told == [Reason.UNSUPPORTED]


# -- output


async def test_what_one_turn_of_the_loop_brings_goes_out_together() -> None:
    async with memory() as link:
        near, _ = await link.stream()
        writes = link.near_transport.writes
        near.stream.send(b"first")
        for _ in range(50):
            near.stream.send(b"more")
        await asyncio.sleep(0)

        assert len(writes) <= 3
        assert sum(map(len, writes)) == 51 * 8 + 5 + 50 * 4


async def test_answers_to_one_read_go_out_together() -> None:
    async with memory() as link:
        streams = [Recorder(link.near.open(Kind.TCP)) for _ in range(20)]
        await asyncio.sleep(0)
        up = link.near_transport.take()
        link.on_opened = lambda stream, *_: (Recorder(stream), stream.accept())
        link.far.data_received(up)

        assert len(link.far_transport.writes) == 1
        await link.carry()
        assert all(near.told == ["accepted"] for near in streams)


async def fill(link: Memory, sender: Recorder) -> None:
    """Make the near transport hold as much as it may."""
    while sender.stream.may_send():
        sender.stream.send(bytes(min(sender.stream.credit, 65536)))
        await asyncio.sleep(0)
    assert link.near_transport.paused


async def test_streams_take_turns_on_a_busy_link() -> None:
    async with memory() as link:
        bulk = [(await link.stream())[0] for _ in range(3)]
        turns: list[int] = []

        def take_turn(recorder: Recorder) -> None:
            if recorder.stream.may_send():
                turns.append(recorder.stream.id)
                recorder.stream.send(bytes(60_000))
                assert not recorder.stream.may_send(), "others wait"

        await fill(link, (await link.stream())[0])
        for recorder in bulk:
            recorder.credit = lambda recorder=recorder: take_turn(recorder)
            assert not recorder.stream.may_send()
        for _ in range(4):
            link.near_transport.take()

        ids = [recorder.stream.id for recorder in bulk]
        assert turns[:6] == ids + ids
        assert link.near_transport.get_write_buffer_size() < peer_module.WRITE_HIGH_BYTES + 60_008


async def test_stream_that_ends_while_it_waits_loses_its_turn() -> None:
    async with memory() as link:
        first, second = (await link.stream())[0], (await link.stream())[0]
        await fill(link, first)
        assert not second.stream.may_send()
        first.stream.reset(Reason.CANCELLED)
        first.told.clear()
        link.near_transport.take()

        assert (first.told, second.told) == ([], ["credit"])


# -- the end


async def test_goaway_reaches_the_other_end_and_ends_opening() -> None:
    heard: list[str] = []
    async with memory(on_goaway=heard.append) as link:
        link.far.go_away("until tomorrow")
        await link.carry()

        assert heard == ["until tomorrow"]
        with pytest.raises(LinkLost):
            link.near.open(Kind.TCP)


async def test_loss_of_the_link_is_told_to_all_once() -> None:
    lost: list[BaseException | None] = []
    async with memory(on_lost=lost.append) as link:
        near, _ = await link.stream()
        error = ConnectionResetError()
        link.near.connection_lost(error)
        link.near.connection_lost(error)

        assert near.told == [Reason.LINK_LOST]
        assert lost == [error]
        assert link.near.lost
        with pytest.raises(LinkLost):
            link.near.open(Kind.TCP)


async def test_close_sends_what_was_queued() -> None:
    async with memory() as link:
        near, far = await link.stream()
        near.stream.send(b"last words")
        near.stream.send(b", really")
        link.near.close()

        assert near.told == [Reason.LINK_LOST]
        link.far.data_received(link.near_transport.take())
        assert far.told == [b"last words", b", really"]


async def test_violation_ends_the_link_and_is_told_to_the_other_end() -> None:
    lost: list[BaseException | None] = []
    peer, transport = alone(on_lost=lost.append)
    peer.data_received(HELLO)
    near = Recorder(peer.open(Kind.TCP))
    transport.take()
    peer.data_received(frames.encode(FrameType.DATA, 2, b"x"))

    assert [type(error) for error in lost] == [ProtocolError]
    assert near.told == [Reason.LINK_LOST]
    assert transport.take().endswith(frames.encode(FrameType.GOAWAY, 0, b"stream 2: never opened"))
    assert transport.ended


async def test_peer_that_was_given_up_before_its_connection_is_not_started() -> None:
    peer = Peer(Mux(client=True))
    peer.close()
    transport = MemoryTransport(peer)

    assert transport.ended
    assert transport.writes == []


async def test_nothing_is_written_to_a_transport_that_is_broken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio complains, on stderr, of who does so again and again."""
    monkeypatch.setattr(peer_module, "GATHER_SECONDS", -1)
    near_socket, far_socket = tcp_pair()
    near = Peer(Mux(client=True))
    await asyncio.get_running_loop().create_connection(lambda: near, sock=near_socket)
    far_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far_socket.close()
    for _ in range(20):
        Recorder(near.open(Kind.TCP))
    assert near.streams
    await asyncio.sleep(0)
    assert near.lost
    assert caplog.messages == []
