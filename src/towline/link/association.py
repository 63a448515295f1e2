"""Datagrams to any number of peers, by one socket of the agent's."""

from __future__ import annotations

from collections.abc import Callable

from towline.link.link import Link
from towline.relay.datagramstream import DatagramStream
from towline.relay.outbox import Allowance
from towline.relay.peer import LinkLost
from towline.wire import association
from towline.wire.association import Message
from towline.wire.frames import Kind, Reason


class Association:
    """What one UDP socket would be if it were in the agent's pod.

    With :attr:`Kind.ECHO` it sends ICMP echoes: then a port is a sequence number, and
    `on_datagram` is called for replies.

    `on_datagram(data, host, port)` is called for what comes, from whomever. `on_unreachable(reason,
    quote, host, port)` is called when the network, or the agent's pod, says that what begins with
    `quote` has not reached a peer; `on_refused()` when the agent may not do such a thing. None of
    them waits, and none is called after :meth:`close`.

    The agent has its socket from the first datagram on. When the link is lost, the next datagram
    begins anew, from another port of the pod; what is said while there is none is lost.
    """

    def __init__(
        self,
        link: Link,
        on_datagram: Callable[[bytes, str, int], None],
        on_unreachable: Callable[[Reason, bytes, str, int], None],
        *,
        kind: Kind = Kind.UDP,
        on_refused: Callable[[], None] | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self._link = link
        self._on_datagram = on_datagram
        self._on_unreachable = on_unreachable
        self._on_refused = on_refused
        self._kind = kind
        self._allowance = allowance
        self._stream: DatagramStream | None = None
        self._closed = False

    def send(self, data: bytes, host: str, port: int) -> None:
        """Send a datagram to an address, or to a name as the pod knows it; or lose it.

        Raises ValueError when host, port or length are none of a datagram's.
        """
        message = association.encode(Message(host, port, data))
        stream = self._stream or self._open()
        if stream is not None:
            stream.send(message)

    def close(self) -> None:
        """Let the agent's socket go; may be called twice."""
        self._closed = True
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.end(Reason.CANCELLED)

    def _open(self) -> DatagramStream | None:
        if self._closed:
            return None
        try:
            opened = self._link.open(self._kind, b"")
        except LinkLost:
            return None
        self._stream = DatagramStream(opened, self._heard, self._ended, allowance=self._allowance)
        return self._stream

    def _heard(self, data: bytes) -> None:
        try:
            host, port, payload, failure = association.decode(data)
        except ValueError:
            return
        if self._closed:
            return
        if failure is None:
            self._on_datagram(payload, host, port)
        else:
            self._on_unreachable(failure, payload, host, port)

    def _ended(self, reason: Reason | None) -> None:
        self._stream = None
        if reason is Reason.PROHIBITED and self._on_refused:
            self._on_refused()
