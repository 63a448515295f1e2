"""What the network says of datagrams that a socket has sent to many: ip(7), IP_RECVERR."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any, NamedTuple

from towline.relay.splice import reason_of
from towline.wire.frames import Reason

# Linux's numbers: the socket module has no names for them before Python 3.14.
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_MSG_ERRQUEUE = 0x2000

# struct sock_extended_err of linux/errqueue.h: errno, origin, type.
_EXTENDED_ERROR = struct.Struct("=IBB")
_ORIGIN_ICMP, _ORIGIN_ICMP6 = 2, 3
# Time exceeded: RFC 792 and RFC 4443 section 3.3.
_TIME_EXCEEDED = ((_ORIGIN_ICMP, 11), (_ORIGIN_ICMP6, 3))

# An error quotes less: RFC 1812 section 4.3.2.3, RFC 4443 section 2.4(c).
QUOTE_BYTES = 1280
_CONTROL_BYTES = socket.CMSG_SPACE(128)


class Failure(NamedTuple):
    """That what begins with `quote` did not reach `address`, and why, if it is worth telling."""

    address: Any
    reason: Reason | None
    quote: bytes


def enable(made: socket.socket) -> None:
    """Have errors kept for :func:`take`. Raises OSError where there is no such thing."""
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    else:
        made.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)


def take(made: socket.socket) -> Failure | None:
    """Take the next error; None when there is none left."""
    try:
        quote, control, _, address = made.recvmsg(QUOTE_BYTES, _CONTROL_BYTES, _MSG_ERRQUEUE)
    except OSError:
        return None
    return Failure(address, _reason(control) if address else None, quote)


def _reason(control: list[tuple[int, int, bytes]]) -> Reason | None:
    for _, kind, data in control:
        if kind in (_IP_RECVERR, _IPV6_RECVERR) and len(data) >= _EXTENDED_ERROR.size:
            number, origin, icmp_type = _EXTENDED_ERROR.unpack_from(data)
            if origin not in (_ORIGIN_ICMP, _ORIGIN_ICMP6):
                return None  # whoever sent has had that as an exception
            if (origin, icmp_type) in _TIME_EXCEEDED:
                return Reason.TIMED_OUT
            return reason_of(OSError(number, os.strerror(number)))
    return None
