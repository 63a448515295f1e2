"""A socket of this pod that speaks with any number of others, and hears who is not there."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import Any, Callable

from towline.agent import errorqueue
from towline.agent.errorqueue import QUOTE_BYTES, Failure
from towline.relay import udp
from towline.relay.splice import reason_of
from towline.wire.datagrams import MAX_DATAGRAM_BYTES

# IP_MTU_DISCOVER and IPV6_MTU_DISCOVER of linux/in.h and in6.h, and IP_PMTUDISC_DONT.
_MTU_DISCOVERY = {
    socket.AF_INET: (socket.IPPROTO_IP, 10),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 23),
}
_ANY_SIZE = 0
# Why a datagram is lost that says nothing of anybody.
_LOST = (errno.EMSGSIZE, errno.ENOBUFS, errno.EINVAL)
# A call may fail for an error of an earlier datagram, which is then in the queue.
_TRIES = 4


class Unconnected:
    """Owns a datagram socket, in which what is too large for the way goes in fragments.

    `on_datagram(data, address)` is called for what comes, `on_failure(failure)` when what was
    sent has not arrived, as far as the kernel tells of that. What cannot be sent now is lost.
    """

    def __init__(
        self,
        made: socket.socket,
        on_datagram: Callable[[bytes, Any], None],
        on_failure: Callable[[Failure], None],
    ) -> None:
        self._socket = made
        self._on_datagram = on_datagram
        self._on_failure = on_failure
        udp.prepare(made)
        with contextlib.suppress(OSError):  # sandboxes have less
            made.setsockopt(*_MTU_DISCOVERY[made.family], _ANY_SIZE)
        with contextlib.suppress(OSError):
            errorqueue.enable(made)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(made.fileno(), self._readable)

    def send(self, data: bytes, address: Any) -> None:
        """Send a datagram, or lose it."""
        for _ in range(_TRIES):
            if self._socket.fileno() < 0:
                return
            try:
                self._socket.sendto(data, address)
            except BlockingIOError:
                return  # the network takes no more now
            except OSError as error:
                if not self._take_failures():
                    self._fail(error, data, address)
                    return
            else:
                return

    def close(self) -> None:
        """Hear no more; may be called twice."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _fail(self, error: OSError, data: bytes, address: Any) -> None:
        if error.errno not in _LOST:
            self._on_failure(Failure(address, reason_of(error), data[:QUOTE_BYTES]))

    def _take_failures(self) -> bool:
        """Tell of what the kernel has noted; whether that was any."""
        any_taken = False
        for _ in range(udp.TURN_DATAGRAMS):
            failure = errorqueue.take(self._socket) if self._socket.fileno() >= 0 else None
            if failure is None:
                break
            any_taken = True
            self._on_failure(failure)
        return any_taken

    def _readable(self) -> None:
        self._take_failures()
        for _ in range(udp.TURN_DATAGRAMS):
            if self._socket.fileno() < 0:
                return
            try:
                data, address = self._socket.recvfrom(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError:
                self._take_failures()  # this was only the news of one
                continue
            self._on_datagram(data, address)
