"""Listens on ports of this pod; what comes goes to the session that claims it, or passes by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from towline.agent.addresses import Addresses
from towline.agent.context import WAITING_BYTES, Context, Run
from towline.agent.kubelet import IPAddress, Kubelet
from towline.agent.redirect import Redirect, Redirection
from towline.agent.severing import sever
from towline.agent.slots import Slots
from towline.agent.tcp import TcpPort
from towline.agent.udp import UdpPort
from towline.agent.underway import Underway
from towline.relay.outbox import Allowance
from towline.relay.peer import Peer
from towline.relay.stream import Stream
from towline.wire.frames import Reason
from towline.wire.target import Claim, Port, Protocol, Target

_KINDS: dict[Protocol, type[TcpPort] | type[UdpPort]] = {
    Protocol.TCP: TcpPort,
    Protocol.UDP: UdpPort,
}


@dataclass(frozen=True)
class Intercepted:
    """A port to listen on, and where what comes belongs; without, what nobody claims is refused."""

    port: Port
    original: Target | None = None

    def __str__(self) -> str:
        if self.original is None:
            return str(self.port)
        host, number = self.original.host, self.original.port
        return f"{self.port}={f'[{host}]' if ':' in host else host}:{number}"

    @classmethod
    def parse(cls, text: str) -> Intercepted:
        """Read `PORT` or `PORT=HOST:PORT`, the first with its protocol. Raises ValueError.

        Without HOST, the original is at the address of this pod that a client has asked for.
        """
        port, _, original = text.partition("=")
        if not original:
            return cls(Port.parse(port))
        host, _, number = original.rpartition(":")
        return cls(Port.parse(port), Target(host.strip("[]"), int(number)))


class Redirecting(NamedTuple):
    """That what comes to the ports is to be redirected here, by an nf_tables table of this name.

    `behind` are the addresses from which a sidecar of this pod passes it on.
    """

    table: str
    kubelet: Kubelet
    behind: tuple[IPAddress, ...] = ()


class Interception:
    """The ports that this agent listens on, all from :meth:`start` to :meth:`close`.

    With `redirecting` others listen on them in this pod: what comes from outside is redirected.
    `slots` are further ports, which come and go.
    """

    def __init__(
        self, ports: Sequence[Intercepted], run: Run, redirecting: Redirecting | None = None
    ) -> None:
        self.underway = Underway()
        self.passes = any(each.original is not None for each in ports)
        """Whether what nobody claims has somewhere to go."""
        self._redirecting = redirecting
        self._redirect: Redirect | None = None
        kubelet = redirecting.kubelet if redirecting else None
        waiting = Allowance(WAITING_BYTES)
        self._context = Context(run, self.underway, Addresses(), waiting, kubelet)
        self._ports = {
            each.port: _KINDS[each.port.protocol](each.port, each.original, self._context)
            for each in ports
        }
        self.slots = Slots(self._context)
        self._originals = {each.original.host for each in ports if each.original}
        self._released = False

    async def start(self) -> None:
        """Listen. Raises OSError when a port, or the redirect, cannot be had."""
        for host in filter(None, self._originals):
            self._context.run(self._context.addresses.find(host))
        listeners = {port: await each.start() for port, each in self._ports.items()}
        if self._redirecting is not None:
            table, kubelet, behind = self._redirecting
            redirections = [
                Redirection(port, listener, kubelet.exempt(port.number))
                for port, listener in listeners.items()
            ]
            self._redirect = Redirect(table, redirections, behind)
            self._sever()

    def close(self) -> None:
        """Listen no more."""
        if self._redirect is not None:
            self._redirect.close()
        self.slots.close()
        for port in self._ports.values():
            port.close()

    def release(self) -> None:
        """End all claims, and take no new ones; connections that a session has accepted stay."""
        self._released = True
        if self._redirect is not None:
            self._redirect.stop()
            self._sever()
        self.slots.release()
        for port in self._ports.values():
            port.claims.end()

    def _sever(self) -> None:
        """Have a sidecar make its connections to this pod's programs anew, as things are now."""
        if self._redirecting is not None and self._redirecting.behind:
            numbers = {port.number for port in self._ports}
            self._context.run(sever(self._redirecting.behind, numbers))

    def claim(self, peer: Peer, stream: Stream, target: bytes) -> None:
        """Give what comes to a port to a peer from now on, for as long as the stream lasts."""
        if self._released:
            stream.reset(Reason.GOING_AWAY)
            return
        try:
            claim = Claim.decode(target)
            known = self._ports.get(claim.port)
            claims = known.claims if known else self.slots.claims(claim.port)
        except (ValueError, KeyError):
            stream.reset(Reason.UNSUPPORTED)
            return
        claims.add(peer, stream, copy=claim.copy)
