"""Where a TCP stream goes: a port, and an address or a name, in few bytes."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from towline.wire.frames import Buffer

_PORT = struct.Struct("!HB")
_IPV4, _IPV6, _NAME = 4, 6, 0
_LONGEST_NAME = 253  # RFC 1035 section 2.3.4, without the root's dot


@dataclass(frozen=True)
class Target:
    """A host, as an IPv4 or IPv6 address in text or a name, and a port."""

    host: str
    port: int

    def encode(self) -> bytes:
        """Return the target as OPEN carries it. Raises ValueError when host or port is none."""
        if not 0 < self.port < 65536:
            raise ValueError(f"{self.port} is not a port")
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return _PORT.pack(self.port, _NAME) + _encode_name(self.host)
        if "%" in self.host:
            raise ValueError(f"{self.host!r} has a zone, which means nothing at the other end")
        return _PORT.pack(self.port, address.version) + address.packed

    @classmethod
    def decode(cls, data: Buffer) -> Target:
        """Return the target that OPEN carried. Raises ValueError when it is malformed."""
        if len(data) < _PORT.size:
            raise ValueError("target is too short")
        port, family = _PORT.unpack_from(data)
        host = bytes(data[_PORT.size :])
        if not port:
            raise ValueError("target without a port")
        if family == _IPV4 and len(host) == 4:
            return cls(str(ipaddress.IPv4Address(host)), port)
        if family == _IPV6 and len(host) == 16:
            return cls(str(ipaddress.IPv6Address(host)), port)
        if family == _NAME and 0 < len(host) <= _LONGEST_NAME:
            return cls(_checked_name(host.decode("ascii")), port)
        raise ValueError(f"target of family {family} with {len(host)} bytes")


def _encode_name(name: str) -> bytes:
    if not 0 < len(name) <= _LONGEST_NAME:
        raise ValueError(f"a name of {len(name)} characters")
    return _checked_name(name).encode("ascii")


def _checked_name(name: str) -> str:
    # What else a name may hold is for the resolver to say; these would not survive the way there.
    if not name.isascii() or not name.isprintable() or " " in name or ":" in name:
        raise ValueError(f"{name!r} is not a host name")
    return name
