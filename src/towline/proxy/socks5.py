"""SOCKS5 (RFC 1928) without authentication: connections, and associations for datagrams."""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple

from towline.proxy.request import Malformed, Request
from towline.wire.frames import Reason
from towline.wire.target import Target

VERSION = 5
_NO_AUTHENTICATION, _NONE_ACCEPTABLE = 0, 0xFF
_CONNECT, _ASSOCIATE = 1, 3
_IPV4, _NAME, _IPV6 = 1, 3, 4
_SIZES = {_IPV4: 4, _IPV6: 16}
_PORT = struct.Struct("!H")
_SUCCEEDED, _FAILED, _NOT_ALLOWED, _NO_COMMAND, _NO_ADDRESS_TYPE = 0, 1, 2, 7, 8
# Section 6. There is none for a silent destination; "TTL expired" is what programs show as that.
_REPLIES = {
    Reason.PROHIBITED: _NOT_ALLOWED,
    Reason.NET_UNREACHABLE: 3,
    Reason.HOST_UNREACHABLE: 4,
    Reason.UNRESOLVED: 4,
    Reason.REFUSED: 5,
    Reason.TIMED_OUT: 6,
}
_NOWHERE = Target(str(ipaddress.IPv4Address(0)), 0)


class Socks5:
    """One conversation (:class:`towline.proxy.request.Dialect`)."""

    def __init__(self) -> None:
        self.request: Request | None = None
        self.rest = b""
        self._greeted = False

    def receive(self, data: bytes) -> bytes:
        """See the class."""
        self.rest += data
        said = b""
        if not self._greeted:
            said = self._greet()
        if self._greeted and self.request is None:
            self._read_request()
        return said

    def accepted(self, bound: Target) -> bytes:
        """See the class."""
        return bytes((VERSION, _SUCCEEDED, 0)) + _encode(bound)

    def refused(self, reason: Reason, why: str) -> bytes:
        """See the class; there is no place for words."""
        del why
        return _reply(_REPLIES.get(reason, _FAILED))

    def _greet(self) -> bytes:
        if len(self.rest) < 2 or len(self.rest) < 2 + self.rest[1]:
            return b""
        methods, self.rest = self.rest[2 : 2 + self.rest[1]], self.rest[2 + self.rest[1] :]
        if _NO_AUTHENTICATION not in methods:
            answer = bytes((VERSION, _NONE_ACCEPTABLE))
            raise Malformed("it wants to authenticate, which is not needed", answer)
        self._greeted = True
        return bytes((VERSION, _NO_AUTHENTICATION))

    def _read_request(self) -> None:
        if len(self.rest) < 4:
            return
        version, command, _, _ = self.rest[:4]
        if version != VERSION:
            raise Malformed(f"a request of version {version}")
        if command not in (_CONNECT, _ASSOCIATE):
            raise Malformed(f"command {command}", _reply(_NO_COMMAND))
        try:
            found = _decode(self.rest[3:])
        except ValueError as error:
            raise Malformed(str(error), _reply(_NO_ADDRESS_TYPE)) from None
        if found is None:
            return
        target, self.rest = found
        if command == _CONNECT and not target.port:
            raise Malformed("no port", _reply(_FAILED))
        self.request = Request(target, is_association=command == _ASSOCIATE)


class Datagram(NamedTuple):
    """A datagram of an association, to a target or from one (section 7)."""

    target: Target
    data: bytes

    def encode(self) -> bytes:
        """As a client gets it. Raises ValueError when the host is nothing."""
        return bytes(3) + _encode(self.target) + self.data

    @classmethod
    def decode(cls, packet: bytes) -> Datagram:
        """As a client has sent it. Raises ValueError when it is malformed, or a fragment."""
        if len(packet) < 4 or packet[2]:
            raise ValueError("a fragment, or too short")
        found = _decode(packet[3:])
        if found is None:
            raise ValueError("too short")
        return cls(*found)


def _reply(code: int) -> bytes:
    return bytes((VERSION, code, 0)) + _encode(_NOWHERE)


def _encode(target: Target) -> bytes:
    try:
        address = ipaddress.ip_address(target.host)
    except ValueError:
        name = target.host.encode("ascii")
        return bytes((_NAME, len(name))) + name + _PORT.pack(target.port)
    family = _IPV4 if address.version == 4 else _IPV6
    return bytes((family,)) + address.packed + _PORT.pack(target.port)


def _decode(data: bytes) -> tuple[Target, bytes] | None:
    """An address type, address and port, and what follows; None if that is not all there yet."""
    if not data:
        return None
    family, begin = data[0], 1
    if family == _NAME:
        if len(data) < 2:
            return None
        size, begin = data[1], 2
    elif family in _SIZES:
        size = _SIZES[family]
    else:
        raise ValueError(f"address type {family}")
    end = begin + size
    if len(data) < end + _PORT.size:
        return None
    host = data[begin:end]
    name = host.decode("ascii") if family == _NAME else str(ipaddress.ip_address(host))
    (port,) = _PORT.unpack_from(data, end)
    return Target(checked(name), port), data[end + _PORT.size :]


def checked(name: str) -> str:
    """A host as it may be asked for; of one in brackets, what is in them. Raises ValueError."""
    inner = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    Target(inner, 1).encode()
    return inner
