"""Sockets that get what comes to a port of this pod, on all its addresses."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

from towline.relay import udp
from towline.wire.datagrams import MAX_DATAGRAM_BYTES
from towline.wire.target import Target

BACKLOG = 1024

# Missing from the socket module; Linux's number, ip(7).
_IP_PKTINFO = 8
# SO_ORIGINAL_DST of linux/netfilter_ipv4.h, and the same for IPv6: a sockaddr_in or sockaddr_in6.
_ORIGINAL_DESTINATION = 80
_PACKET_INFO_BYTES = socket.CMSG_SPACE(20)


_EVERYWHERE = ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0"))  # noqa: S104
LOOPBACK = ((socket.AF_INET, "127.0.0.1"),)


def bound(
    port: int,
    kind: socket.SocketKind,
    where: Sequence[tuple[socket.AddressFamily, str]] = _EVERYWHERE,
) -> socket.socket:
    """A socket on a port of all addresses, of both families where the pod has both.

    One for connections listens. Raises OSError when the port cannot be had.
    """
    for family, host in where:
        try:
            made = socket.socket(family, kind)
        except OSError:
            continue
        try:
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            if kind == socket.SOCK_STREAM:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, port))
            if kind == socket.SOCK_STREAM:
                made.listen(BACKLOG)
        except OSError as error:
            made.close()
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            continue
        made.setblocking(False)
        return made
    raise OSError(errno.EADDRNOTAVAIL, "this pod has neither IPv4 nor IPv6")


def plain(host: str) -> str:
    """An address without zone, and IPv4 as such although the socket is one of IPv6."""
    host = host.partition("%")[0]
    return host.removeprefix("::ffff:")


def asked_address(transport: asyncio.BaseTransport) -> str:
    """The address of this pod that a client of a TCP port has asked for.

    What was redirected from within the pod has come to its loopback: then the kernel knows.
    """
    host = plain(transport.get_extra_info("sockname")[0])
    connection = transport.get_extra_info("socket")
    if not ipaddress.ip_address(host).is_loopback:
        return host
    with contextlib.suppress(OSError):  # it was not redirected
        if ":" in host:
            asked = connection.getsockopt(socket.IPPROTO_IPV6, _ORIGINAL_DESTINATION, 28)
            return socket.inet_ntop(socket.AF_INET6, asked[8:24])
        asked = connection.getsockopt(socket.IPPROTO_IP, _ORIGINAL_DESTINATION, 16)
        return socket.inet_ntop(socket.AF_INET, asked[4:8])
    return host


class UdpClient(NamedTuple):
    """Where a datagram came from, and which address of this pod it was sent to."""

    address: Any
    asked: tuple[tuple[int, int, bytes], ...]
    """What makes the answer leave from there: the control messages of sendmsg(2)."""

    @property
    def target(self) -> Target:
        """The client's address and port."""
        return Target(plain(self.address[0]), self.address[1])

    def asked_at(self, port: int) -> Target:
        """A port of the address that it has asked."""
        ((level, _, info),) = self.asked
        if level == socket.IPPROTO_IPV6:
            return Target(plain(socket.inet_ntop(socket.AF_INET6, info[:16])), port)
        return Target(socket.inet_ntop(socket.AF_INET, info[4:8]), port)


class UdpListener:
    """A UDP port of all addresses; answers leave from the address that their client has asked.

    Left to itself the kernel would choose one, not always the same on a pod with several, or when
    nftables has redirected what was asked.
    """

    def __init__(self, port: int, on_datagram: Callable[[bytes, UdpClient], None]) -> None:
        self._on_datagram = on_datagram
        self._socket = bound(port, socket.SOCK_DGRAM)
        udp.prepare(self._socket)
        if self._socket.family == socket.AF_INET6:  # tells of both families
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        self._loop = asyncio.get_running_loop()
        self.port: int = self._socket.getsockname()[1]
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def send(self, datagram: bytes, client: UdpClient) -> None:
        """Answer a client; what cannot be sent is lost."""
        if self._socket.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._socket.sendmsg([datagram], client.asked, 0, client.address)

    def close(self) -> None:
        """Hear no more; may be called twice."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(udp.TURN_DATAGRAMS):
            try:
                datagram, control, _, address = self._socket.recvmsg(
                    MAX_DATAGRAM_BYTES, _PACKET_INFO_BYTES
                )
            except OSError:  # none is left
                return
            self._on_datagram(datagram, UdpClient(address, tuple(map(_from_there, control))))


def _from_there(control: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
    """Turn what was told of an arrival, in6_pktinfo or in_pktinfo, into what to ask for an answer.

    The address stays, the interface is left to the route.
    """
    level, kind, info = control
    if level == socket.IPPROTO_IPV6:
        return level, kind, info[:16] + bytes(4)
    return level, kind, bytes(4) + info[4:8] + bytes(4)
