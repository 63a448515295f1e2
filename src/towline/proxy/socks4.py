"""SOCKS4 and its extension for names, SOCKS4A, as curl and old programs speak it.

See https://www.openssh.org/txt/socks4.protocol and https://www.openssh.org/txt/socks4a.protocol.
"""

from __future__ import annotations

import ipaddress

from towline.proxy.request import Malformed, Request
from towline.proxy.socks5 import checked
from towline.wire.frames import Reason
from towline.wire.target import Target

VERSION = 4
_CONNECT = 1
_GRANTED, _REJECTED = 90, 91
# An address of this form, but for 0.0.0.0, says that a name follows.
_NAME_FOLLOWS = bytes(3)
_LONGEST = 1024


class Socks4:
    """One conversation (:class:`towline.proxy.request.Dialect`)."""

    def __init__(self) -> None:
        self.request: Request | None = None
        self.rest = b""

    def receive(self, data: bytes) -> bytes:
        """See the class."""
        self.rest += data
        if self.request is None:
            self._read_request()
        return b""

    def accepted(self, bound: Target) -> bytes:
        """See the class; clients ignore what is bound."""
        del bound
        return _reply(_GRANTED)

    def refused(self, reason: Reason, why: str) -> bytes:
        """See the class; there is but one way to refuse."""
        del reason, why
        return _reply(_REJECTED)

    def _read_request(self) -> None:
        head, rest = self.rest[:8], self.rest[8:]
        if len(self.rest) > _LONGEST:
            raise Malformed("no end of the request", _reply(_REJECTED))
        if len(head) < 8:
            return
        if head[1] != _CONNECT:
            raise Malformed(f"command {head[1]}", _reply(_REJECTED))
        _user, end, rest = rest.partition(b"\0")
        host = str(ipaddress.IPv4Address(head[4:]))
        if end and head[4:7] == _NAME_FOLLOWS and head[7]:
            name, end, rest = rest.partition(b"\0")
            host = name.decode("latin-1")
        if not end:
            return
        try:
            target = Target(checked(host), int.from_bytes(head[2:4], "big"))
            target.encode()
        except ValueError as error:
            raise Malformed(str(error), _reply(_REJECTED)) from None
        self.request, self.rest = Request(target), rest


def _reply(code: int) -> bytes:
    return bytes((0, code)) + bytes(6)
