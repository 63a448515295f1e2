"""A UDP port of this pod; what a client sends goes to the session that claims it, or passes by."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from towline.agent.claims import ACCEPT_SECONDS, Claims
from towline.agent.context import Context
from towline.agent.listening import UdpClient, UdpListener
from towline.relay.datagramstream import DatagramStream
from towline.relay.udp import ConnectedUdp
from towline.wire.frames import Reason
from towline.wire.target import Port, Target

# A client that says nothing, and is told nothing, for so long has ended. conntrack, by which
# services are reached, forgets it after 30 s, or 120 s if it had an answer.
IDLE_SECONDS = 60.0
# So many clients at a time; then those make room that have been idle for longest.
FLOWS = 4096
# What is kept of a client until it is known who gets it.
KEPT_BYTES = 128 * 1024


class UdpPort:
    """A port that is listened on from :meth:`start` to :meth:`close`.

    What clients say that nobody claims goes to `original`, and a copy to whoever claims that;
    without an original it is lost. As with :class:`towline.agent.tcp.TcpPort`, an original may be
    without a host.
    """

    def __init__(self, port: Port, original: Target | None, context: Context) -> None:
        self.claims = Claims(port)
        self.original = original
        self.context = context
        self._number = 0 if context.kubelet else port.number
        self._loop = asyncio.get_running_loop()
        self._listener: UdpListener | None = None
        self._flows: OrderedDict[UdpClient, _Flow] = OrderedDict()  # idle for longest first
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> int:
        """Listen, and give the port for that. Raises OSError when it cannot be had."""
        self._listener = UdpListener(self._number, self._arrived)
        return self._listener.port

    def close(self) -> None:
        """Listen no more, and end what was said here."""
        for flow in list(self._flows.values()):
            flow.end()
        if self._timer is not None:
            self._timer.cancel()
        if self._listener is not None:
            self._listener.close()

    def answer(self, datagram: bytes, flow: _Flow) -> None:
        """Tell a client something."""
        self._touch(flow)
        if self._listener is not None:
            self._listener.send(datagram, flow.client)

    def forget(self, flow: _Flow) -> None:
        """Note that a flow has ended."""
        self._flows.pop(flow.client, None)

    def _arrived(self, datagram: bytes, client: UdpClient) -> None:
        flow = self._flows.get(client)
        if flow is None:
            if len(self._flows) >= FLOWS:
                next(iter(self._flows.values())).end()
            flow = self._flows[client] = _Flow(self, client)
        self._touch(flow)
        flow.say(datagram)

    def _touch(self, flow: _Flow) -> None:
        flow.last = self._loop.time()
        self._flows.move_to_end(flow.client)
        if self._timer is None:
            self._timer = self._loop.call_later(IDLE_SECONDS, self._expire)

    def _expire(self) -> None:
        self._timer = None
        for flow in list(self._flows.values()):
            end = flow.last + IDLE_SECONDS
            if end > self._loop.time():
                self._timer = self._loop.call_at(end, self._expire)
                return
            flow.end()


class _Flow:
    """What one client says: offered to a claimant until that accepts it, else passed by.

    What comes meanwhile goes to the claimant at once and is kept as well. Who has got a flow
    keeps it; when a claimant loses it, what the client says next begins another one.
    """

    def __init__(self, port: UdpPort, client: UdpClient) -> None:
        self.client = client
        self.last = 0.0  # loop time
        self._port = port
        self._kept: list[bytes] = []
        self._room = KEPT_BYTES
        self._offered: DatagramStream | None = None
        self._accepted = False
        self._patience: asyncio.TimerHandle | None = None
        self._passing = False
        self._original: ConnectedUdp | None = None
        self._copy: DatagramStream | None = None
        self._ended = False

    def say(self, datagram: bytes) -> None:
        """Send it on, and keep it until it is known to whom."""
        if not self._accepted:
            self._port.context.underway.datagram_came()
            if self._original is None:
                self._keep(datagram)
        if self._offered is not None:
            self._offered.send(datagram)
        elif not self._passing:
            self._offer()
        else:
            self._pass(datagram)

    def answer(self, datagram: bytes) -> None:
        """Tell the client what it gets."""
        if not self._ended:
            self._port.answer(datagram, self)

    def end(self) -> None:
        """Nothing more is said."""
        self._ended = True
        self._port.forget(self)
        self._forget_kept()
        self._end_offer()
        if self._copy is not None:
            self._copy.end(Reason.CANCELLED)
        if self._original is not None:
            self._original.close()

    # -- what is kept

    def _keep(self, datagram: bytes) -> None:
        if len(datagram) <= min(self._room, self._port.context.waiting.left):
            self._kept.append(datagram)
            self._room -= len(datagram)
            self._port.context.waiting.take(len(datagram))

    def _forget_kept(self) -> None:
        self._kept.clear()
        self._port.context.waiting.take(self._room - KEPT_BYTES)
        self._room = KEPT_BYTES

    # -- offering

    def _offer(self) -> None:
        """Offer what it has said to a claimant; without one it passes by."""
        stream = self._port.claims.offer(self.client.target)
        if stream is None:
            self._pass_by()
            return
        self._offered = DatagramStream(
            stream,
            self.answer,
            self._lost,
            on_accepted=self._taken,
            allowance=self._port.context.waiting,
        )
        for datagram in self._kept:
            self._offered.send(datagram)
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(ACCEPT_SECONDS, self._pass_by)

    def _taken(self) -> None:
        """The claimant has accepted it."""
        assert self._patience is not None
        self._patience.cancel()
        self._accepted = True
        self._forget_kept()

    def _lost(self, reason: Reason | None) -> None:
        """The claimant does not take it, or is gone: there may be another."""
        self._end_offer()
        if self._accepted:
            self.end()
        elif reason is Reason.LINK_LOST:
            self._offer()
        else:
            self._pass_by()

    def _end_offer(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        offered, self._offered = self._offered, None
        if offered is not None:
            offered.end(Reason.CANCELLED)

    # -- passing by

    def _pass_by(self) -> None:
        self._end_offer()
        original = self._port.original
        if original is None:
            self.end()
            return
        if not original.host:
            original = self.client.asked_at(original.port)
        self._passing = True
        for datagram in self._kept:
            self._say_once_more(datagram)
        self._port.context.run(self._connect(original))

    async def _connect(self, original: Target) -> None:
        host = self._port.context.addresses.of(original.host)[0]
        try:
            made = await ConnectedUdp.open(host, original.port, self.answer, lambda _: None)
        except OSError:
            self.end()
            return
        if self._ended:
            made.close()
            return
        self._original = made
        for datagram in self._kept:
            made.send(datagram)
        self._forget_kept()

    def _pass(self, datagram: bytes) -> None:
        self._say_once_more(datagram)
        if self._original is not None:
            self._original.send(datagram)

    def _say_once_more(self, datagram: bytes) -> None:
        """Copy a datagram for whoever wants that, anew if a copy was refused or lost."""
        if self._copy is None or self._copy.closed:
            stream = self._port.claims.offer(self.client.target, copy=True)
            if stream is None:
                return
            allowance = self._port.context.waiting
            self._copy = DatagramStream(stream, lambda _: None, lambda _: None, allowance=allowance)
        self._copy.send(datagram)
