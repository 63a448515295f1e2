from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.relay import netlink


def reply(code, kind=2):
    return netlink.message(kind, 0, struct.pack("=i", code) + bytes(20))


@given(st.integers(0, 0x7FFF), st.binary(max_size=70))
def test_attribute_is_padded_and_tells_its_own_length(kind, value):
    data = netlink.attribute(kind, value)
    assert struct.unpack_from("=HH", data) == (4 + len(value), kind)
    assert data[4 : 4 + len(value)] == value
    assert len(data) % 4 == 0
    assert len(data) < 8 + len(value)


def test_nested_attribute_is_marked_and_holds_the_others():
    inner = [netlink.attribute(1, b"x"), netlink.attribute(2, b"yz")]
    data = netlink.nested(3, *inner)
    assert struct.unpack_from("=HH", data) == (len(data), 3 | 0x8000)
    assert data[4:] == b"".join(inner)


@given(st.binary(max_size=50))
def test_message_tells_its_length(body):
    data = netlink.message(24, netlink.ACK, body)
    assert struct.unpack_from("=IHH", data) == (16 + len(body), 24, netlink.REQUEST | netlink.ACK)


def test_acknowledgement_raises_nothing():
    netlink.raise_error(reply(0))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_error_anywhere_in_a_reply_is_raised(place):
    replies = [reply(0), reply(-5, kind=24), reply(0)]
    replies.insert(place, reply(-errno.ENOENT))
    with pytest.raises(FileNotFoundError):
        netlink.raise_error(b"".join(replies))


@given(st.binary(max_size=80))
def test_raise_error_of_any_bytes_ends(data):
    try:
        netlink.raise_error(data + bytes(4))
    except OSError:
        return


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=9)), max_size=6))
def test_kinds_of_attributes_are_listed(attributes):
    data = b"".join(netlink.attribute(*each) for each in attributes)
    assert netlink.attribute_kinds(data) == {kind for kind, _ in attributes}


@given(st.binary(max_size=80))
def test_attribute_kinds_of_any_bytes_ends(data):
    netlink.attribute_kinds(data)
