"""The messages of an association: what was said to or by one of many peers, or why it was lost.

docs/protocol.md is the full description. Each message is one datagram of a stream
(:mod:`towline.wire.datagrams`). Numbers are in network byte order.
"""

from __future__ import annotations

import functools
import ipaddress
import struct
from typing import TYPE_CHECKING, NamedTuple

from towline.wire.frames import Reason
from towline.wire.target import checked_name

if TYPE_CHECKING:
    from towline.wire.frames import Buffer

# What is longer does not fit into one datagram of a stream, behind an IPv6 address.
MAX_DATA_BYTES = 65535 - 20

_HEAD = struct.Struct("!BHB")
_IPV4, _IPV6, _NAME = 4, 6, 0
_SIZES = {_IPV4: 4, _IPV6: 16}
_KEPT_ADDRESSES = 4096


class Message(NamedTuple):
    """Data for a peer or from one, or, with `failure`, the beginning of what did not reach it.

    `host` is an IPv4 or IPv6 address in text, or a name that the agent resolves; `number` the
    peer's UDP port, or an echo's sequence number.
    """

    host: str
    number: int
    data: bytes
    failure: Reason | None = None

    @property
    def to_name(self) -> bool:
        """Whether the host is a name. Raises ValueError when it is nothing."""
        return _packed(self.host)[0] == _NAME


def encode(message: Message) -> bytes:
    """Return a message as bytes. Raises ValueError for what none can hold."""
    host, number, data, failure = message
    if not 0 <= number < 65536:
        raise ValueError(f"{number} is not a port")
    if len(data) > MAX_DATA_BYTES:
        raise ValueError(f"a datagram of {len(data)} bytes")
    family, packed = _packed(host)
    return _HEAD.pack(failure or 0, number, family) + packed + data


def decode(data: Buffer) -> Message:
    """Return the message in a datagram. Raises ValueError when it is malformed."""
    if len(data) <= _HEAD.size:
        raise ValueError("message is too short")
    failure, number, family = _HEAD.unpack_from(data)
    begin = _HEAD.size
    if family == _NAME:
        size = data[begin]
        begin += 1
    else:
        size = _SIZES.get(family, 0)
    end = begin + size
    if not size or len(data) < end:
        raise ValueError(f"message of family {family} with {len(data)} bytes")
    host = _host(family, bytes(data[begin:end]))
    return Message(host, number, bytes(data[end:]), _failure(failure) if failure else None)


@functools.lru_cache(_KEPT_ADDRESSES)
def _packed(host: str) -> tuple[int, bytes]:
    """The family of a host, and what stands for it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = checked_name(host).encode("ascii")
        return _NAME, bytes((len(name),)) + name
    if "%" in host:
        raise ValueError(f"{host!r} has a zone, which means nothing at the other end")
    return address.version, address.packed


@functools.lru_cache(_KEPT_ADDRESSES)
def _host(family: int, packed: bytes) -> str:
    if family != _NAME:
        return str(ipaddress.ip_address(packed))
    return checked_name(packed.decode("ascii"))


def _failure(number: int) -> Reason:
    try:
        return Reason(number)
    except ValueError:
        return Reason.HOST_UNREACHABLE
