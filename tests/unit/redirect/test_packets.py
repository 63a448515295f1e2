from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.redirect import strategies
from tests.unit.redirect.strategies import ipv4, ipv6, segment_of, tcp
from towline.redirect import packets
from towline.redirect.packets import ACK, FIN, RST, SYN, Unreachable

V4 = (ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("10.96.0.10"))
V6 = (ipaddress.ip_address("fd00::1"), ipaddress.ip_address("fd00:10::1"))


def folded_sum(data: bytes) -> int:
    """Add up as RFC 1071 §4.1 does, word by word: 0xffff over data with a right checksum."""
    total = 0
    for index in range(0, len(data), 2):
        total += data[index] << 8 | (data[index + 1] if index + 1 < len(data) else 0)
        total = (total & 0xFFFF) + (total >> 16)
    return total


def transport_sum(packet: packets.Packet) -> int:
    body = packet.data[packet.offset :]
    if packet.protocol == packets.ICMP:
        return folded_sum(body)
    pseudo = packet.source.packed + packet.destination.packed
    return folded_sum(pseudo + struct.pack(">II", len(body), packet.protocol) + body)


def assert_sums_right(packet: packets.Packet) -> None:
    if packet.version == 4:
        assert folded_sum(packet.data[: packet.offset]) == 0xFFFF
    assert transport_sum(packet) == 0xFFFF


@given(st.binary(max_size=300))
def test_checksum_makes_the_folded_sum_all_ones(data):
    even = data + b"\0" * (len(data) % 2)
    assert folded_sum(even + struct.pack(">H", packets.checksum(data))) == 0xFFFF


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\xff\xff", b"\xff\xff\xff\xff", b"\x00\x01"])
def test_checksum_of_corner_values_is_ones_complement(data):
    assert packets.checksum(data) == ~folded_sum(data) & 0xFFFF


@given(strategies.segments())
def test_parse_gives_back_what_went_in(case):
    data, fields = case
    segment = segment_of(data)
    assert segment.packet.source == fields["source"]
    assert segment.packet.destination == fields["destination"]
    assert segment.source_port == fields["source_port"]
    assert segment.destination_port == fields["destination_port"]
    assert segment.sequence == fields["sequence"]
    assert segment.acknowledgement == fields["acknowledgement"]
    assert segment.flags == fields["flags"]
    assert segment.payload == len(fields["payload"])
    assert segment.opens == (fields["flags"] & (SYN | ACK | RST) == SYN)


@given(st.binary(max_size=120))
def test_parse_of_any_bytes_never_fails(data):
    packet = packets.parse(data)
    if packet:
        packets.parse_tcp(packet)
        packets.unreachable_for(packet, Unreachable.HOST)


@given(strategies.segments(), st.data())
def test_parse_of_a_cut_packet_gives_none(case, data):
    raw, _ = case
    assert packets.parse(raw[: data.draw(st.integers(0, len(raw) - 1))]) is None


@pytest.mark.parametrize("fragment", [0x2000, 0x0001, 0x2001])
def test_parse_of_an_ipv4_fragment_gives_none(fragment):
    data = bytearray(ipv4(*V4, packets.UDP, bytes(8)))
    data[6:8] = struct.pack(">H", fragment)
    assert packets.parse(bytes(data)) is None


def test_parse_of_an_ipv6_fragment_gives_none():
    fragment = bytes([packets.UDP, 0, 0, 1, 0, 0, 0, 1]) + bytes(8)
    assert packets.parse(ipv6(*V6, 44, fragment)) is None


def test_parse_steps_over_ipv6_extension_headers():
    body = tcp(1, 2, 3, 4, SYN, b"")
    options = bytes([60, 0]) + bytes(6) + bytes([packets.TCP, 1]) + bytes(14)
    segment = segment_of(ipv6(*V6, 0, options + body))
    assert (segment.source_port, segment.destination_port) == (1, 2)


@given(strategies.syns)
def test_reset_for_a_syn_acknowledges_it_and_its_data(case):
    data, fields = case
    answer = segment_of(packets.reset_for(segment_of(data)))
    assert answer.flags == RST | ACK
    assert answer.sequence == 0
    assert answer.acknowledgement == (fields["sequence"] + 1 + len(fields["payload"])) % 2**32
    assert answer.packet.source == fields["destination"]
    assert answer.packet.destination == fields["source"]
    assert answer.source_port == fields["destination_port"]
    assert answer.destination_port == fields["source_port"]
    assert_sums_right(answer.packet)


@given(strategies.segments(flags=st.sampled_from([ACK, ACK | FIN, ACK | SYN])))
def test_reset_for_an_acknowledgement_takes_its_number(case):
    data, fields = case
    answer = segment_of(packets.reset_for(segment_of(data)))
    assert (answer.flags, answer.sequence) == (RST, fields["acknowledgement"])
    assert_sums_right(answer.packet)


@given(strategies.segments(flags=st.sampled_from([RST, RST | ACK, RST | SYN])))
def test_reset_for_a_reset_is_none(case):
    assert packets.reset_for(segment_of(case[0])) is None


@pytest.mark.parametrize(
    ("reason", "code4", "code6"),
    [(Unreachable.NET, 0, 0), (Unreachable.HOST, 1, 3), (Unreachable.PROHIBITED, 13, 1)],
)
def test_unreachable_has_the_code_of_its_family(reason, code4, code6):
    for build, ends, protocol, expected in (
        (ipv4, V4, packets.ICMP, (3, code4)),
        (ipv6, V6, packets.ICMPV6, (1, code6)),
    ):
        answer = packets.parse(
            packets.unreachable_for(packets.parse(build(*ends, packets.UDP, bytes(8))), reason)
        )
        assert answer.protocol == protocol
        assert tuple(answer.data[answer.offset : answer.offset + 2]) == expected
        assert (answer.source, answer.destination) == ends[::-1]


@given(
    st.sampled_from([(ipv4, V4, 576), (ipv6, V6, 1280)]),
    st.integers(0, 3000).map(lambda size: bytes(range(256)) * (size // 256) + bytes(size % 256)),
)
def test_unreachable_quotes_as_much_as_fits(case, body):
    build, ends, limit = case
    raw = build(*ends, packets.UDP, body)
    answer = packets.parse(packets.unreachable_for(packets.parse(raw), Unreachable.HOST))
    quote = answer.data[answer.offset + 8 :]
    assert raw.startswith(quote)
    assert len(answer.data) <= limit
    assert quote == raw or len(answer.data) == limit
    assert_sums_right(answer)


@pytest.mark.parametrize(
    "data",
    [
        ipv4(*V4, packets.ICMP, bytes([3, 1]) + bytes(6)),
        ipv4(*V4, packets.ICMP, bytes([11, 0]) + bytes(6)),
        ipv4(*V4, packets.ICMP, b""),
        ipv6(*V6, packets.ICMPV6, bytes([1, 0]) + bytes(6)),
        ipv6(*V6, packets.ICMPV6, bytes([2, 0]) + bytes(6)),
        ipv4(V4[0], ipaddress.ip_address("224.0.0.1"), packets.UDP, bytes(8)),
        ipv4(V4[0], ipaddress.ip_address("255.255.255.255"), packets.UDP, bytes(8)),
        ipv4(ipaddress.ip_address("0.0.0.0"), V4[1], packets.UDP, bytes(8)),
        ipv6(V6[0], ipaddress.ip_address("ff02::16"), packets.ICMPV6, bytes([143]) + bytes(7)),
        ipv6(ipaddress.ip_address("::"), V6[1], packets.UDP, bytes(8)),
    ],
)
def test_unreachable_is_none_for_what_no_error_may_answer(data):
    assert packets.unreachable_for(packets.parse(data), Unreachable.HOST) is None


@pytest.mark.parametrize(
    "data",
    [
        ipv4(*V4, packets.ICMP, bytes([8, 0]) + bytes(6)),
        ipv6(*V6, packets.ICMPV6, bytes([128, 0]) + bytes(6)),
    ],
)
def test_unreachable_answers_an_echo_request(data):
    assert packets.unreachable_for(packets.parse(data), Unreachable.PROHIBITED)
