"""Sockets that get what comes to a port of this pod, on all its addresses."""

from __future__ import annotations

import errno
import socket

BACKLOG = 1024


def bound(port: int, kind: socket.SocketKind) -> socket.socket:
    """A socket on a port of all addresses, of both families where the pod has both.

    One for connections listens. Raises OSError when the port cannot be had.
    """
    for family, host in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):  # noqa: S104
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
