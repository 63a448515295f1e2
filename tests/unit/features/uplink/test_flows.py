"""Flows begin with what a program says, end when idle, and are bounded; answers become packets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from tests.unit.redirect.strategies import echo, ipv4, ipv6, udp
from towline.features.uplink import flows
from towline.features.uplink.flows import ANSWERED_SECONDS, UNANSWERED_SECONDS, Flows
from towline.redirect import datagrams, packets
from towline.redirect.datagrams import End
from towline.redirect.packets import ICMP, UDP, IPAddress, Unreachable
from towline.wire.frames import Kind, Reason

HERE, THERE = ip_address("192.0.2.1"), ip_address("10.96.0.10")


class FakeAssociation:
    """What a flow speaks through; the test says what is heard."""

    def __init__(self, _link: object, heard: Any, lost: Any, **options: Any) -> None:
        self.heard = heard
        self.lost = lost
        self.refused = options["on_refused"]
        self.kind = options["kind"]
        self.sent: list[tuple[bytes, str, int]] = []
        self.closed = False

    def send(self, *datagram: Any) -> None:
        self.sent.append(datagram)

    def close(self) -> None:
        self.closed = True


class Machine:
    """Flows whose packets are kept, and a clock that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packets: list[bytes] = []
        self.made: list[FakeAssociation] = []
        self.now = 1000.0
        self.no_echoes = 0

        def associate(*given: Any, **options: Any) -> FakeAssociation:
            self.made.append(FakeAssociation(*given, **options))
            return self.made[-1]

        monkeypatch.setattr(flows, "Association", associate)
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)
        self.used: list[IPAddress] = []
        link: Any = None
        self.flows = Flows(link, self.packets.append, self.used.append, self._count)

    def _count(self) -> None:
        self.no_echoes += 1

    def say(self, port: int, data: bytes = b"x", to: int = 53) -> FakeAssociation:
        assert self.take(ipv4(HERE, THERE, UDP, udp(port, to, data)))
        return self.made[-1]

    def take(self, raw: bytes) -> bool:
        packet = packets.parse(raw)
        assert packet is not None
        return self.flows.take(packet)

    def refusal(self) -> bytes:
        """What this machine's kernel says of the packet that it was handed last."""
        packet = packets.parse(self.packets[-1])
        assert packet is not None
        error = packets.unreachable_for(packet, Unreachable.PORT)
        assert error is not None
        return error

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.flows.expire()


@pytest.fixture
async def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine(monkeypatch)
    yield made
    made.flows.close()
    assert all(each.closed for each in made.made)


async def test_one_socket_has_one_association_for_all_its_peers(machine: Machine) -> None:
    machine.say(4000, b"a", 53)
    machine.say(4000, b"b", 54)
    machine.say(4001, b"c")
    first, second = machine.made
    assert first.kind is Kind.UDP
    assert first.sent == [(b"a", "10.96.0.10", 53), (b"b", "10.96.0.10", 54)]
    assert second.sent == [(b"c", "10.96.0.10", 53)]
    assert machine.packets == []


async def test_whom_a_socket_speaks_with_is_told_at_each_datagram(machine: Machine) -> None:
    association = machine.say(4000)
    assert machine.used == [THERE]
    association.heard(b"answer", "10.96.0.99", 1053)
    assert machine.used == [THERE, ip_address("10.96.0.99")]


async def test_answers_become_packets_to_the_socket_from_whoever_answers(machine: Machine) -> None:
    machine.say(4000).heard(b"answer", "10.96.0.99", 1053)
    end = End(UDP, HERE, 4000)
    expected = datagrams.answer_to(end, ip_address("10.96.0.99"), 1053, b"answer")
    assert machine.packets == [expected]


async def test_failures_become_errors_and_those_that_say_nothing_are_silent(
    machine: Machine,
) -> None:
    association = machine.say(4000, b"quoted")
    for reason in Reason:
        association.lost(reason, b"quoted", "10.96.0.10", 53)
    end = End(UDP, HERE, 4000)
    assert machine.packets == [
        datagrams.unreachable_for(end, THERE, 53, b"quoted", why)
        for why in (
            Unreachable.PORT,
            Unreachable.NET,
            Unreachable.HOST,
            Unreachable.EXPIRED,
            Unreachable.PROHIBITED,
        )
    ]


async def test_echo_is_answered_only_when_the_clusters_was(machine: Machine) -> None:
    assert machine.take(ipv4(HERE, THERE, ICMP, echo(8, 7, 3, b"ping")))
    (association,) = machine.made
    assert association.kind is Kind.ECHO
    assert association.sent == [(b"ping", "10.96.0.10", 3)]
    assert machine.packets == []
    association.heard(b"ping", "10.96.0.10", 3)
    assert machine.packets == [datagrams.answer_to(End(ICMP, HERE, 7), THERE, 3, b"ping")]


async def test_that_the_agent_may_not_send_echoes_is_told_once_until_it_may(
    machine: Machine,
) -> None:
    machine.take(ipv4(HERE, THERE, ICMP, echo(8, 7, 3, b"ping")))
    (association,) = machine.made
    for _ in range(2):
        association.refused()
        assert (machine.no_echoes, machine.flows.echoes) == (1, False)
    association.heard(b"ping", "10.96.0.10", 3)
    assert machine.flows.echoes
    assert machine.say(4000).refused is None


async def test_packets_that_are_not_the_clusters_are_not_taken(machine: Machine) -> None:
    assert not machine.take(ipv4(HERE, THERE, 132, b"sctp"))
    assert not machine.take(ipv6(*map(ip_address, ("fd00::1", "ff02::fb")), UDP, udp(1, 2, b"")))
    assert machine.made == []


async def test_flow_without_answer_ends_soon_and_one_with_lasts(machine: Machine) -> None:
    silent, answered = machine.say(4000), machine.say(4001)
    answered.heard(b"x", "10.96.0.10", 53)
    machine.later(UNANSWERED_SECONDS - 1)
    assert len(machine.flows) == 2
    machine.later(1)
    assert (silent.closed, answered.closed) == (True, False)
    machine.later(ANSWERED_SECONDS - UNANSWERED_SECONDS - 1)
    answered.heard(b"a word keeps it", "10.96.0.10", 53)
    machine.later(ANSWERED_SECONDS - 1)
    assert not answered.closed
    machine.later(1)
    assert answered.closed
    assert len(machine.flows) == 0


async def test_expired_socket_that_speaks_again_begins_anew(machine: Machine) -> None:
    machine.say(4000)
    machine.later(UNANSWERED_SECONDS)
    machine.say(4000, b"again")
    assert [each.sent for each in machine.made[1:]] == [[(b"again", "10.96.0.10", 53)]]


async def test_when_there_are_too_many_the_longest_idle_one_makes_room(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "FLOWS", 3)
    for port in range(3):
        machine.say(1000 + port)
    machine.say(1000)
    machine.say(9000)
    assert len(machine.flows) == 3
    assert [index for index, each in enumerate(machine.made) if each.closed] == [1]


async def test_socket_that_was_closed_here_is_let_go_there(machine: Machine) -> None:
    association = machine.say(4000)
    association.heard(b"late", "10.96.0.10", 53)
    refusal = machine.refusal()
    assert machine.take(refusal)
    assert association.closed
    assert machine.take(refusal)  # as it may come again


async def test_socket_that_does_not_hear_others_than_its_peer_is_kept(machine: Machine) -> None:
    association = machine.say(4000)
    association.heard(b"a stranger", "10.96.0.10", 54)
    assert machine.take(machine.refusal())
    assert not association.closed
