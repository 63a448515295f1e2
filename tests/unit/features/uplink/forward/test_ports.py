"""Which ports are forwarded, of those that an object tells of."""

from __future__ import annotations

import pytest

from towline.errors import UsageError
from towline.features.uplink.forward import ports
from towline.features.uplink.forward.ports import Chosen
from towline.features.uplink.forward.target import Wish
from towline.wire.target import Port, Protocol

SERVICE = {
    "spec": {
        "ports": [
            {"name": "http", "port": 80, "protocol": "TCP"},
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53},
            {"name": "signal", "port": 99, "protocol": "SCTP"},
        ]
    }
}
OFFERED = ports.of_service(SERVICE)
HTTP, DNS, DNS_TCP = Port(80), Port(53, Protocol.UDP), Port(53)


def chosen(*wishes: Wish, others: bool = False) -> list[Chosen]:
    return ports.choose(OFFERED, wishes, others=others)


def test_without_a_wish_it_is_all_that_can_be_forwarded() -> None:
    assert chosen() == [Chosen(HTTP, 80), Chosen(DNS, 53), Chosen(DNS_TCP, 53)]


def test_port_is_meant_by_name_or_number_and_by_its_protocol() -> None:
    assert chosen(Wish("http", 8080)) == [Chosen(HTTP, 8080)]
    assert chosen(Wish("dns")) == [Chosen(DNS, 53)]
    assert chosen(Wish("53/udp", 0)) == [Chosen(DNS, 0)]
    assert chosen(Wish("53", 5353)) == [Chosen(DNS, 5353), Chosen(DNS_TCP, 5353)]


def test_port_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError) as caught:
        chosen(Wish("81"))
    assert "80/TCP (http)" in caught.value.hint


def test_pods_listen_on_more_than_they_tell_of() -> None:
    assert chosen(Wish("9000", 1), Wish("9001/udp"), others=True) == [
        Chosen(Port(9000), 1),
        Chosen(Port(9001, Protocol.UDP), 9001),
    ]
    with pytest.raises(UsageError):
        chosen(Wish("no-such-name"), others=True)


def test_two_ports_cannot_have_one_local_port_but_free_ones_can() -> None:
    with pytest.raises(UsageError, match="8080"):
        chosen(Wish("http", 8080), Wish("dns-tcp", 8080))
    assert len(chosen(Wish("http", 0), Wish("dns-tcp", 0))) == 2


def test_what_tells_of_no_port_needs_one_named() -> None:
    with pytest.raises(UsageError, match="no port"):
        ports.choose([], [], others=True)


def test_ports_of_all_containers_are_a_pods() -> None:
    spec = {
        "containers": [
            {"ports": [{"name": "http", "containerPort": 8080}]},
            {"name": "no-ports"},
            {"ports": [{"containerPort": 53, "protocol": "UDP"}]},
        ]
    }
    assert [each.port for each in ports.of_pod(spec)] == [Port(8080), Port(53, Protocol.UDP)]
