"""ICMP echoes from this pod, by the sockets that ordinary users may have for that: icmp(7)."""

from __future__ import annotations

import errno
import socket
import struct

# RFC 792 and RFC 4443 section 4.1: type, code, checksum, identifier, sequence number. The kernel
# fills in the checksum, and the socket's own identifier, by which it knows the replies.
_HEAD = struct.Struct("!BBHHH")
_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}
# Sandboxes may not know of such sockets at all, which comes to the same.
_UNKNOWN = (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT)
_PROTOCOL = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}


class Echo:
    """The medium of an association in which a peer's number is a sequence number."""

    def open(self, family: int) -> socket.socket:
        """Make a socket; PermissionError unless net.ipv4.ping_group_range has our group."""
        family = socket.AddressFamily(family)
        try:
            return socket.socket(family, socket.SOCK_DGRAM, _PROTOCOL[family])
        except OSError as error:
            if error.errno in _UNKNOWN:
                raise PermissionError(error.errno, error.strerror) from error
            raise

    def pack(self, family: int, number: int, data: bytes) -> tuple[bytes, int]:
        """Make it a request."""
        kind = _REQUEST[socket.AddressFamily(family)]
        return _HEAD.pack(kind, 0, 0, 0, number) + data, 0

    def unpack(self, data: bytes, port: int) -> tuple[int, bytes] | None:
        """Read a reply, or the quoted request."""
        if len(data) < _HEAD.size:
            return None
        return _HEAD.unpack_from(data)[4], data[_HEAD.size :]
