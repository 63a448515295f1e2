"""The targets of streams, in few bytes: where a connection goes, or where one came from."""

from __future__ import annotations

import enum
import ipaddress
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from towline.wire.frames import Buffer

_PORT = struct.Struct("!H")
_PORT_AND_PROTOCOL = struct.Struct("!HB")
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
        port = _encode_number(self.port)
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return port + bytes((_NAME,)) + checked_name(self.host).encode("ascii")
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
        if family == _NAME:
            return cls(checked_name(host.decode("ascii")), port)
        raise ValueError(f"target of family {family} with {len(host)} bytes")


class Protocol(enum.IntEnum):
    """A transport protocol of Kubernetes' services, with its number at IANA."""

    TCP = 6
    UDP = 17


@dataclass(frozen=True, order=True)
class Port:
    """A port of one protocol: `80/TCP`."""

    number: int
    protocol: Protocol = Protocol.TCP

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol.name}"

    @classmethod
    def parse(cls, text: str) -> Port:
        """Read `NUMBER` or `NUMBER/PROTOCOL`. Raises ValueError for anything else."""
        number, slash, protocol = text.partition("/")
        try:
            found = cls(int(number), Protocol[protocol.upper() if slash else "TCP"])
        except KeyError:
            raise ValueError(f"{protocol!r} is not a protocol") from None
        found.encode()
        return found

    def encode(self) -> bytes:
        """Return the port as targets carry it. Raises ValueError when it is none."""
        return _encode_number(self.number) + bytes((self.protocol,))

    @classmethod
    def decode(cls, data: Buffer) -> Port:
        """Return the port that a target carries. Raises ValueError when it is malformed."""
        if len(data) != _PORT_AND_PROTOCOL.size:
            raise ValueError(f"a port of {len(data)} bytes")
        number, protocol = _PORT_AND_PROTOCOL.unpack(data)
        if not number:
            raise ValueError("a port without a number")
        return cls(number, Protocol(protocol))


@dataclass(frozen=True)
class Claim:
    """A port whose connections are wanted: they themselves, or a copy of what clients say."""

    port: Port
    copy: bool = False

    def encode(self) -> bytes:
        """Return the target as OPEN carries it. Raises ValueError when the port is none."""
        return self.port.encode() + bytes((self.copy,))

    @classmethod
    def decode(cls, data: Buffer) -> Claim:
        """Return the target that OPEN carried. Raises ValueError when it is malformed."""
        if bytes(data[-1:]) not in (b"\0", b"\1"):
            raise ValueError("a claim that says not what is wanted")
        return cls(Port.decode(data[:-1]), bool(data[-1]))


@dataclass(frozen=True)
class Incoming:
    """A connection that came to `port`, from the client's address and port."""

    port: Port
    client: Target

    def encode(self) -> bytes:
        """Return the target as OPEN carries it. Raises ValueError when port or client is none."""
        return self.port.encode() + self.client.encode()

    @classmethod
    def decode(cls, data: Buffer) -> Incoming:
        """Return the target that OPEN carried. Raises ValueError when it is malformed."""
        size = _PORT_AND_PROTOCOL.size
        return cls(Port.decode(data[:size]), Target.decode(data[size:]))


def _encode_number(port: int) -> bytes:
    if not 0 < port < 65536:
        raise ValueError(f"{port} is not a port")
    return _PORT.pack(port)


def checked_name(name: str) -> str:
    """Return a host name as it is. Raises ValueError when it is none."""
    if not 0 < len(name) <= _LONGEST_NAME:
        raise ValueError(f"a name of {len(name)} characters")
    # What else a name may hold is for the resolver to say; these would not survive the way there.
    if not name.isascii() or not name.isprintable() or " " in name or ":" in name:
        raise ValueError(f"{name!r} is not a host name")
    return name
