"""The PROXY protocol's header, read by its specification: section 2.2 of HAProxy's document."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.features.local.proxyprotocol import header, prefaces
from towline.wire.target import Incoming, Port, Target

PORTS = st.integers(1, 65535)
SIGNATURE = bytes.fromhex("0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A")


def addresses(version: int) -> st.SearchStrategy[Target]:
    return st.builds(Target, st.ip_addresses(v=version).map(str), PORTS)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Target, Target]:
    version = draw(st.sampled_from([4, 6]))
    return draw(addresses(version)), draw(addresses(version))


def read(data: bytes) -> tuple[Target, Target] | None:
    """What a receiver makes of the header: source and destination, or None for LOCAL."""
    assert data[:12] == SIGNATURE
    version, command = data[12] >> 4, data[12] & 15
    assert version == 2
    (length,) = struct.unpack("!H", data[14:16])
    assert len(data) == 16 + length
    if command == 0:
        return None
    assert command == 1
    family, protocol = data[13] >> 4, data[13] & 15
    assert protocol == 1  # SOCK_STREAM
    size = {1: 4, 2: 16}[family]
    source, destination, rest = data[16 : 16 + size], data[16 + size : 16 + 2 * size], data[-4:]
    assert length == 2 * size + 4
    hosts = [str(ipaddress.ip_address(each)) for each in (source, destination)]
    return Target(hosts[0], int.from_bytes(rest[:2])), Target(hosts[1], int.from_bytes(rest[2:]))


@given(pairs())
def test_receiver_reads_what_was_told(pair: tuple[Target, Target]) -> None:
    assert read(header(*pair)) == pair


@given(addresses(4) | addresses(6))
def test_unknown_server_tells_nothing(client: Target) -> None:
    assert read(header(client, None)) is None


@given(addresses(4), addresses(6))
def test_families_do_not_mix(one: Target, other: Target) -> None:
    with pytest.raises(ValueError, match="different families"):
        header(one, other)


def test_bytes_of_an_example() -> None:
    told = header(Target("10.1.2.3", 0x1234), Target("10.96.0.1", 80))
    assert told == SIGNATURE + bytes.fromhex("21 11 000C 0A010203 0A600001 1234 0050")


@pytest.mark.parametrize(
    ("client", "server"),
    [("10.0.0.1", Target("10.96.0.1", 80)), ("fd00::1", Target("fd00:96::1", 80))],
)
def test_first_server_of_the_clients_family_counts(client: str, server: Target) -> None:
    def servers(port: Port) -> list[Target]:
        assert port == Port(8080)
        others = [Target("10.0.0.9", 8080), Target("fd00::9", 8080)]
        return [Target("10.96.0.1", 80), Target("fd00:96::1", 80), *others]

    incoming = Incoming(Port(8080), Target(client, 5))
    assert read(prefaces(servers)(incoming)) == (incoming.client, server)


def test_no_server_of_the_clients_family_tells_nothing() -> None:
    preface = prefaces(lambda _: [Target("10.96.0.1", 80)])
    assert read(preface(Incoming(Port(80), Target("fd00::1", 5)))) is None
