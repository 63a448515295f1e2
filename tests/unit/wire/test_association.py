"""Messages of an association come out as they went in, and malformed ones are told."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.wire import datagrams
from towline.wire.association import MAX_DATA_BYTES, Message, decode, encode
from towline.wire.frames import Reason

ADDRESSES = st.ip_addresses().map(str).filter(lambda text: "%" not in text)
NAMES = st.text("abz09_.-", min_size=1, max_size=253).map("x".__add__).map(lambda x: x[:253])
MESSAGES = st.builds(
    Message,
    host=ADDRESSES | NAMES,
    number=st.integers(0, 65535),
    data=st.binary(max_size=40),
    failure=st.none() | st.sampled_from(Reason).filter(bool),
)


@given(MESSAGES)
def test_messages_come_as_they_went(message: Message) -> None:
    encoded = encode(message)
    assert decode(encoded) == message
    assert encoded.endswith(message.data)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    try:
        message = decode(data)
    except ValueError:
        return
    assert decode(encode(message)) == message


@given(MESSAGES)
def test_what_is_cut_within_the_host_is_no_message(message: Message) -> None:
    encoded = encode(message._replace(data=b""))
    for size in range(len(encoded)):
        with pytest.raises(ValueError, match=r"message|name"):
            decode(encoded[:size])


@given(ADDRESSES)
def test_addresses_are_not_names(host: str) -> None:
    assert not Message(host, 1, b"").to_name
    assert Message("web.default.svc", 1, b"").to_name


def test_layout() -> None:
    assert encode(Message("10.0.0.1", 53, b"x")) == bytes.fromhex("00 0035 04 0a000001") + b"x"
    refused = Message("::1", 53, b"", Reason.REFUSED)
    assert encode(refused) == bytes.fromhex("01 0035 06") + ipaddress.ip_address("::1").packed
    assert encode(Message("web", 53, b"x")) == bytes.fromhex("00 0035 00 03") + b"webx"


def test_reason_of_a_later_version_is_a_failure() -> None:
    assert decode(bytes.fromhex("c8 0035 04 0a000001")).failure is Reason.HOST_UNREACHABLE


def test_longest_fits_into_a_datagram_of_a_stream_and_a_longer_one_is_refused() -> None:
    longest = Message("::1", 1, bytes(MAX_DATA_BYTES))
    datagrams.encode(encode(longest))
    for wrong in (
        longest._replace(data=bytes(MAX_DATA_BYTES + 1)),
        longest._replace(number=65536),
        longest._replace(host="fe80::1%eth0"),
        longest._replace(host="no name"),
        longest._replace(host=""),
    ):
        with pytest.raises(ValueError, match=r"datagram|port|zone|name"):
            encode(wrong)
