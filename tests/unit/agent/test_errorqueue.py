"""What the kernel notes of a datagram becomes the reason that the session is told."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from towline.agent import errorqueue
from towline.wire.frames import Reason

IP_RECVERR, IPV6_RECVERR = 11, 25
LOCAL, ICMP, ICMPV6 = 1, 2, 3


class Noted:
    """A socket with one error in its queue."""

    def __init__(self, kind: int, number: int, origin: int, icmp_type: int) -> None:
        data = struct.pack("=IBBBBII", number, origin, icmp_type, 0, 0, 0, 0) + bytes(16)
        self._left = [(b"quote", [(socket.IPPROTO_IP, kind, data)], 0, ("10.0.0.1", 53))]

    def recvmsg(self, *_: int) -> object:
        if not self._left:
            raise BlockingIOError
        return self._left.pop()


@pytest.mark.parametrize(
    ("kind", "number", "origin", "icmp_type", "expected"),
    [
        (IP_RECVERR, errno.ECONNREFUSED, ICMP, 3, Reason.REFUSED),
        (IPV6_RECVERR, errno.ECONNREFUSED, ICMPV6, 1, Reason.REFUSED),
        (IP_RECVERR, errno.EHOSTUNREACH, ICMP, 3, Reason.HOST_UNREACHABLE),
        (IP_RECVERR, errno.ENETUNREACH, ICMP, 3, Reason.NET_UNREACHABLE),
        (IPV6_RECVERR, errno.EACCES, ICMPV6, 1, Reason.PROHIBITED),
        (IP_RECVERR, errno.EHOSTUNREACH, ICMP, 11, Reason.TIMED_OUT),
        (IPV6_RECVERR, errno.EHOSTUNREACH, ICMPV6, 3, Reason.TIMED_OUT),
        (IP_RECVERR, errno.EMSGSIZE, LOCAL, 0, None),
        (99, errno.ECONNREFUSED, ICMP, 3, None),
    ],
)
def test_reason_of_what_is_noted(
    kind: int, number: int, origin: int, icmp_type: int, expected: Reason | None
) -> None:
    noted = Noted(kind, number, origin, icmp_type)
    failure = errorqueue.take(noted)  # type: ignore[arg-type]
    assert failure == (("10.0.0.1", 53), expected, b"quote")
    assert errorqueue.take(noted) is None  # type: ignore[arg-type]
