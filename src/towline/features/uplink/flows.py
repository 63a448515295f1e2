"""UDP sockets and pings of this machine, each with an association in the cluster."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address

from towline.link.association import Association
from towline.link.link import Link
from towline.redirect import datagrams
from towline.redirect.datagrams import Datagram, End, Peer
from towline.redirect.packets import UDP, IPAddress, Packet, Unreachable
from towline.relay.outbox import Allowance
from towline.wire.frames import Kind, Reason

# Who was answered may be silent for as long as the most patient of protocols that keep a flow
# open; conntrack's 120 s would end some. To who was not, an answer comes soon.
ANSWERED_SECONDS = 300.0
UNANSWERED_SECONDS = 60.0
SWEEP_SECONDS = 10.0
# So many at a time; then those make room that have been idle for longest.
FLOWS = 4096
# What may wait for the link, of all flows together; each has a bound of its own.
WAITING_BYTES = 32 * 1024 * 1024

_WHY = {
    Reason.REFUSED: Unreachable.PORT,
    Reason.HOST_UNREACHABLE: Unreachable.HOST,
    Reason.NET_UNREACHABLE: Unreachable.NET,
    Reason.PROHIBITED: Unreachable.PROHIBITED,
    Reason.TIMED_OUT: Unreachable.EXPIRED,
}


class Flows:
    """Takes packets of programs to the cluster, and makes the packets that answer them.

    `send(packet)` hands one to this machine. Nothing is answered that the cluster has not answered.
    `on_used(address)` is told of each address that is spoken with.
    `echoes` is false when the agent was not allowed to send the last one; `on_no_echoes()` tells of
    the first time.
    """

    def __init__(
        self,
        link: Link,
        send: Callable[[bytes], None],
        on_used: Callable[[IPAddress], None],
        on_no_echoes: Callable[[], None],
    ) -> None:
        self.send = send
        self.on_used = on_used
        self.echoes = True
        self._link = link
        self._on_no_echoes = on_no_echoes
        self._allowance = Allowance(WAITING_BYTES)
        self._loop = asyncio.get_running_loop()
        self._flows: OrderedDict[End, _Flow] = OrderedDict()  # idle for longest first
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Count the flows."""
        return len(self._flows)

    def take(self, packet: Packet) -> bool:
        """Send on what a packet holds; False when that is nothing for the cluster."""
        datagram = datagrams.parse(packet)
        if datagram is not None:
            self._send_on(datagram)
            return True
        closed = datagrams.closed_port(packet)
        if closed is None:
            return False
        end, peer = closed
        flow = self._flows.get(end)
        # A socket that is connected to one peer is closed to all others.
        if flow is not None and flow.peer == peer:
            self._forget(end)
        return True

    def expire(self) -> None:
        """End the flows that have been idle for too long."""
        now = self._loop.time()
        for end, flow in list(self._flows.items()):
            if flow.expires <= now:
                self._forget(end)

    def close(self) -> None:
        """End all flows. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        for end in list(self._flows):
            self._forget(end)

    def associate(self, flow: _Flow) -> Association:
        """Make what a flow speaks through."""
        is_udp = flow.end.protocol == UDP
        return Association(
            self._link,
            flow.answer,
            flow.fail,
            kind=Kind.UDP if is_udp else Kind.ECHO,
            on_refused=None if is_udp else self._refused,
            allowance=self._allowance,
        )

    def answered(self, flow: _Flow) -> None:
        """Note that a peer has said something."""
        flow.answered = True
        if flow.end.protocol != UDP:
            self.echoes = True  # of another agent, on another node
        self._touch(flow)

    def _touch(self, flow: _Flow) -> None:
        patience = ANSWERED_SECONDS if flow.answered else UNANSWERED_SECONDS
        flow.expires = self._loop.time() + patience
        self._flows.move_to_end(flow.end)
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def _send_on(self, datagram: Datagram) -> None:
        flow = self._flows.get(datagram.source)
        if flow is None:
            if len(self._flows) >= FLOWS:
                self._forget(next(iter(self._flows)))
            flow = self._flows[datagram.source] = _Flow(self, datagram.source)
        self._touch(flow)
        self.on_used(datagram.destination)
        flow.peer = datagram.destination, datagram.number
        flow.association.send(datagram.data, str(datagram.destination), datagram.number)

    def _refused(self) -> None:
        if self.echoes:
            self.echoes = False
            self._on_no_echoes()

    def _forget(self, end: End) -> None:
        flow = self._flows.pop(end, None)
        if flow is not None:
            flow.association.close()

    def _sweep(self) -> None:
        self._timer = None
        self.expire()
        if self._flows:
            self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)


class _Flow:
    """What one of this machine's sockets says, and is told."""

    def __init__(self, flows: Flows, end: End) -> None:
        self.end = end
        self.peer: Peer | None = None  # who was last spoken to
        self.answered = False
        self.expires = 0.0  # loop time
        self._flows = flows
        self.association = flows.associate(self)

    def answer(self, data: bytes, host: str, number: int) -> None:
        """Hand over what a peer says."""
        peer = _address(host)
        self._flows.answered(self)
        self._flows.on_used(peer)
        packet = datagrams.answer_to(self.end, peer, number, data)
        if packet is not None:
            self._flows.send(packet)

    def fail(self, reason: Reason, quote: bytes, host: str, number: int) -> None:
        """Say why something has not reached a peer, if there is an answer for that."""
        why = _WHY.get(reason)
        if why is not None:
            packet = datagrams.unreachable_for(self.end, _address(host), number, quote, why)
            if packet is not None:
                self._flows.send(packet)


@lru_cache(FLOWS)
def _address(host: str) -> IPAddress:
    return ip_address(host)
