"""The targets of streams, in few bytes: where a connection goes, or where one came from."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from towline.wire.frames import Buffer

_PORT = struct.Struct("!H")
_PORT_AND_FAMILY = struct.Struct("!HB")
_IPV4, _IPV6, _NAME = 4, 6, 0
_LONGEST_NAME = 253  # RFC 1035 section 2.3.4, without the root's dot


@dataclass(frozen=True)
class Target:
    """A host, as an IPv4 or IPv6 address in text or a name, and a port."""

    host: str
    port: int

    def encode(self) -> bytes:
        """Return the target as OPEN carries it. Raises ValueError when host or port is none."""
        port = encode_port(self.port)
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return port + bytes((_NAME,)) + _encode_name(self.host)
        if "%" in self.host:
            raise ValueError(f"{self.host!r} has a zone, which means nothing at the other end")
        return port + bytes((address.version,)) + address.packed

    @classmethod
    def decode(cls, data: Buffer) -> Target:
        """Return the target that OPEN carried. Raises ValueError when it is malformed."""
        if len(data) < _PORT_AND_FAMILY.size:
            raise ValueError("target is too short")
        port, family = _PORT_AND_FAMILY.unpack_from(data)
        host = bytes(data[_PORT_AND_FAMILY.size :])
        if not port:
            raise ValueError("target without a port")
        if family == _IPV4 and len(host) == 4:
            return cls(str(ipaddress.IPv4Address(host)), port)
        if family == _IPV6 and len(host) == 16:
            return cls(str(ipaddress.IPv6Address(host)), port)
        if family == _NAME and 0 < len(host) <= _LONGEST_NAME:
            return cls(_checked_name(host.decode("ascii")), port)
        raise ValueError(f"target of family {family} with {len(host)} bytes")


@dataclass(frozen=True)
class Incoming:
    """A connection that came to `port`, from the client's address and port."""

    port: int
    client: Target

    def encode(self) -> bytes:
        """Return the target as OPEN carries it. Raises ValueError when port or client is none."""
        return encode_port(self.port) + self.client.encode()

    @classmethod
    def decode(cls, data: Buffer) -> Incoming:
        """Return the target that OPEN carried. Raises ValueError when it is malformed."""
        return cls(decode_port(data[: _PORT.size]), Target.decode(data[_PORT.size :]))


def encode_port(port: int) -> bytes:
    """Return the target of a CLAIM. Raises ValueError when it is no port."""
    if not 0 < port < 65536:
        raise ValueError(f"{port} is not a port")
    return _PORT.pack(port)


def decode_port(data: Buffer) -> int:
    """Return the port that a CLAIM's OPEN carried. Raises ValueError when it is malformed."""
    if len(data) != _PORT.size or not any(data):
        raise ValueError("target is not a port")
    return int(_PORT.unpack(data)[0])


def _encode_name(name: str) -> bytes:
    if not 0 < len(name) <= _LONGEST_NAME:
        raise ValueError(f"a name of {len(name)} characters")
    return _checked_name(name).encode("ascii")


def _checked_name(name: str) -> str:
    # What else a name may hold is for the resolver to say; these would not survive the way there.
    if not name.isascii() or not name.isprintable() or " " in name or ":" in name:
        raise ValueError(f"{name!r} is not a host name")
    return name
