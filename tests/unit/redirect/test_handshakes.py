from __future__ import annotations

import asyncio
import ipaddress
import socket

import pytest

from tests.unit.redirect.strategies import ipv4, segment_of, tcp
from towline.errors import RedirectError
from towline.redirect import packets
from towline.redirect.errors import DialError, Reason
from towline.redirect.handshakes import Handshakes
from towline.redirect.listener import Flow

US = ipaddress.ip_address("192.0.2.1")
WEB = ipaddress.ip_address("10.96.0.10")


def syn(source_port=40000, port=80):
    return segment_of(ipv4(US, WEB, packets.TCP, tcp(source_port, port, 1, 0, packets.SYN, b"")))


def flow(source_port=40000, port=80):
    return Flow(US, source_port, WEB, port)


class Stream:
    def __init__(self):
        self.aborted = asyncio.Event()

    def abort(self):
        self.aborted.set()


class Gate:
    """Remembers what it was asked; fails when told so."""

    def __init__(self):
        self.asked = []
        self.is_broken = False

    async def admit(self, syn):
        self._note("admit", syn.source_port)

    async def refuse(self, segment, answer):
        self._note("refuse", answer)

    async def forget(self, address, port):
        self._note("forget", port)

    def _note(self, *what):
        if self.is_broken:
            raise RedirectError("gone")
        self.asked.append(what)


class Bench:
    """Handshakes with a gate, dials that a test ends, and a list of what was accepted."""

    def __init__(self, group, take_seconds=60.0):
        self.gate = Gate()
        self.dials = []
        self.accepted = []
        self.handshakes = Handshakes(
            self.gate, group, self._dial, self._accept, take_seconds=take_seconds
        )

    async def _dial(self, address, port):
        outcome = asyncio.get_running_loop().create_future()
        self.dials.append(outcome)
        return await outcome

    def _accept(self, connection, address, port, stream):
        self.accepted.append((connection, address, port, stream))


@pytest.fixture
async def bench():
    async with asyncio.TaskGroup() as group:
        made = Bench(group)
        yield made
        made.handshakes.close()


@pytest.fixture
def connection():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


async def settle():
    """Let every task run until it waits for something else than the loop."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_syn_admitted_when_its_dial_succeeds(bench, connection):
    bench.handshakes.syn(syn())
    await settle()
    bench.dials[0].set_result(stream := Stream())
    await settle()
    assert bench.gate.asked == [("admit", 40000)]
    bench.handshakes.arrived(connection, flow())
    assert bench.accepted == [(connection, WEB, 80, stream)]
    assert len(bench.handshakes) == 0


@pytest.mark.parametrize(
    ("reason", "asked"),
    [
        (Reason.REFUSED, [("refuse", "reset")]),
        (Reason.HOST_UNREACHABLE, [("refuse", "host")]),
        (Reason.NET_UNREACHABLE, [("refuse", "net")]),
        (Reason.TIMED_OUT, []),
        (Reason.LINK_LOST, []),
    ],
)
async def test_syn_answered_by_what_its_dial_says(bench, reason, asked):
    bench.handshakes.syn(syn())
    await settle()
    bench.dials[0].set_exception(DialError(reason))
    await settle()
    assert bench.gate.asked == asked
    assert len(bench.handshakes) == 0


async def test_syn_sent_again_does_not_dial_again(bench):
    for _ in range(3):
        bench.handshakes.syn(syn())
        await settle()
    assert len(bench.dials) == 1


async def test_syn_after_a_silent_failure_dials_again(bench):
    bench.handshakes.syn(syn())
    await settle()
    bench.dials[0].set_exception(DialError(Reason.TIMED_OUT))
    await settle()
    bench.handshakes.syn(syn())
    await settle()
    assert len(bench.dials) == 2


async def test_syns_of_different_programs_have_dials_of_their_own(bench):
    for port in (40000, 40001, 40002):
        bench.handshakes.syn(syn(port))
    await settle()
    assert len(bench.dials) == 3


async def test_connections_get_the_streams_of_their_own_dials(bench, connection):
    streams = {}
    for index, port in enumerate((40000, 40001)):
        bench.handshakes.syn(syn(port))
        await settle()
        streams[port] = Stream()
        bench.dials[index].set_result(streams[port])
    await settle()
    bench.handshakes.arrived(connection, flow(40001))
    bench.handshakes.arrived(connection, flow(40000))
    assert [each[3] for each in bench.accepted] == [streams[40001], streams[40000]]


async def test_connection_to_an_open_destination_has_no_stream(bench, connection):
    bench.handshakes.arrived(connection, flow())
    assert bench.accepted == [(connection, WEB, 80, None)]


async def test_stream_of_a_program_that_gave_up_goes_to_the_next_one(bench, connection):
    bench.handshakes.syn(syn(40000))
    await settle()
    bench.dials[0].set_result(stream := Stream())
    await settle()
    bench.handshakes.arrived(connection, flow(50000, port=81))  # another destination
    bench.handshakes.arrived(connection, flow(50000))
    bench.handshakes.arrived(connection, flow(50001))
    assert [each[3] for each in bench.accepted] == [None, stream, None]
    assert len(bench.handshakes) == 0


async def test_stream_that_nobody_takes_is_aborted():
    async with asyncio.TaskGroup() as group:
        bench = Bench(group, take_seconds=0.0)
        bench.handshakes.syn(syn())
        await settle()
        bench.dials[0].set_result(stream := Stream())
        await asyncio.wait_for(stream.aborted.wait(), 5)
        assert len(bench.handshakes) == 0


async def test_connection_faster_than_its_dial_waits_for_it(bench, connection):
    bench.handshakes.syn(syn())
    await settle()
    bench.handshakes.arrived(connection, flow())
    assert bench.accepted == []
    bench.dials[0].set_result(stream := Stream())
    await settle()
    assert bench.accepted == [(connection, WEB, 80, stream)]
    assert bench.gate.asked == []


async def test_connection_whose_dial_fails_is_reset_and_its_destination_forgotten(bench):
    ours, theirs = connected_pair()
    with theirs:
        bench.handshakes.syn(syn())
        await settle()
        bench.handshakes.arrived(ours, flow())
        bench.dials[0].set_exception(DialError(Reason.REFUSED))
        await settle()
        assert bench.gate.asked == [("forget", 80)]
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)


async def test_port_used_again_during_a_dial_resets_the_connection_given_up(bench, connection):
    ours, theirs = connected_pair()
    with theirs:
        bench.handshakes.syn(syn())
        await settle()
        bench.handshakes.arrived(ours, flow())
        bench.handshakes.arrived(connection, flow())
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)
        bench.dials[0].set_result(stream := Stream())
        await settle()
        assert bench.accepted == [(connection, WEB, 80, stream)]


async def test_stream_is_aborted_when_the_helper_is_gone(bench):
    bench.gate.is_broken = True
    bench.handshakes.syn(syn())
    await settle()
    bench.dials[0].set_result(stream := Stream())
    await settle()
    assert stream.aborted.is_set()
    assert len(bench.handshakes) == 0


async def test_close_ends_dials_streams_and_waiting_connections(bench):
    ours, theirs = connected_pair()
    with theirs:
        for port in (40000, 40001, 40002):
            bench.handshakes.syn(syn(port))
        await settle()
        bench.dials[0].set_result(stream := Stream())
        await settle()
        bench.handshakes.arrived(ours, flow(40001))
        bench.handshakes.close()
        await settle()
        assert stream.aborted.is_set()
        assert all(dial.cancelled() for dial in bench.dials[1:])
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)
        assert len(bench.handshakes) == 0


async def test_syn_while_the_group_ends_is_left_alone():
    async def fail():
        raise LookupError

    async def session():
        async with asyncio.TaskGroup() as group:
            bench = Bench(group)
            group.create_task(fail())
            try:
                await asyncio.Event().wait()
            finally:
                bench.handshakes.syn(syn())
                left.append(len(bench.handshakes))

    left = []
    with pytest.raises(ExceptionGroup):
        await session()
    assert left == [0]


def connected_pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname(), timeout=5)
        ours, _ = server.accept()
    return ours, theirs


async def test_dial_is_given_up_when_the_program_is_gone(bench, monkeypatch):
    monkeypatch.setattr("towline.redirect.handshakes._REPEAT_MARGIN_SECONDS", -1.99)
    bench.handshakes.syn(syn())
    await settle()
    while len(bench.handshakes):
        await asyncio.sleep(0.001)
    await settle()
    assert bench.dials[0].cancelled()
    assert bench.gate.asked == []


async def test_repeated_syn_keeps_its_dial(bench):
    bench.handshakes.syn(syn())
    await settle()
    (first,) = bench.handshakes._all.values()
    timer = first.patience
    bench.handshakes.syn(syn())
    assert timer.cancelled()
    assert len(bench.dials) == 1
    assert not bench.dials[0].done()


async def test_stream_that_waits_for_its_taker_is_not_given_up_with_its_dial(bench, monkeypatch):
    monkeypatch.setattr("towline.redirect.handshakes._REPEAT_MARGIN_SECONDS", -1.99)
    bench.handshakes.syn(syn())
    await settle()
    bench.dials[0].set_result(stream := Stream())
    await asyncio.sleep(0.02)
    assert len(bench.handshakes) == 1
    assert not stream.aborted.is_set()
