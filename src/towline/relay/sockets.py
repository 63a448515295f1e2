"""What we ask of the kernel for the TCP sockets below asyncio's transports.

Sockets of other families, and transports without a socket, are left as they are. And what the
kernel says of a connection that could not be made.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

# What the kernel may hold that it has not sent yet, tcp(7): small frames wait behind no more
# than this, instead of behind a send buffer of megabytes.
UNSENT_BYTES = 128 * 1024

# So many system calls take longer than the kernel needs to note an error.
MOMENT_TRIES = 1000

_LINGER_RST = struct.pack("ii", 1, 0)
_LINGER_OFF = struct.pack("ii", 0, 0)
# Missing from the socket module of Python before 3.12; Linux's number.
_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)
# What is made of several addresses that fail: one text, without a number of its own.
_NUMBERED = re.compile(r"\[Errno (\d+)\]")


def error_numbers(error: OSError) -> list[int]:
    """The errno of a failure to connect, or those of all addresses that were tried, in turn."""
    return [error.errno] if error.errno else [int(found) for found in _NUMBERED.findall(str(error))]


def failure(transport: asyncio.BaseTransport) -> OSError | None:
    """Return why a connection that the loop takes for made has failed after all, None if not.

    Linux wakes who waits for a connection a moment before it has noted the ICMP error that ends
    it (seen with 6.18): then there is neither an error nor a connection yet.
    """
    connection = transport.get_extra_info("socket")
    if connection is None or transport.get_extra_info("peername") is not None:
        return None
    for _ in range(MOMENT_TRIES):
        number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            return OSError(number, os.strerror(number))
    return OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))


def is_broken(transport: asyncio.BaseTransport) -> bool:
    """Whether it takes nothing any more, which its protocol may not have been told yet.

    One of TLS tells of the connection below in newer versions of Python only, and nothing public
    of it leads there.
    """
    below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    return transport.is_closing() or (below is not None and below.is_closing())


def send_at_once(transport: asyncio.BaseTransport) -> None:
    """Turn Nagle's algorithm off, which asyncio does for some sockets only."""
    _set(transport, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def keep_send_buffer_short(transport: asyncio.BaseTransport) -> None:
    """Leave what cannot be sent yet to us, who know what is urgent."""
    _set(transport, socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def reset_if_cut_off(transport: asyncio.BaseTransport) -> None:
    """Have the kernel send an RST if this process is killed, for the other end may wait for ever.

    To be undone by :func:`close_in_order` when the connection has ended by itself.
    """
    _set(transport, socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RST)


def close_in_order(transport: asyncio.Transport) -> None:
    """Close when all has been sent, with a FIN."""
    _set(transport, socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
    transport.close()


def abort_with_reset(transport: asyncio.Transport) -> None:
    """Close at once, drop what is unsent, and send an RST: SO_LINGER of 0 s, socket(7)."""
    _set(transport, socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RST)
    transport.abort()


def _set(transport: asyncio.BaseTransport, level: int, option: int, value: Any) -> None:
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with contextlib.suppress(OSError):  # it may have been closed a moment ago
        connection.setsockopt(level, option, value)
