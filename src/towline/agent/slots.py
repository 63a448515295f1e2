"""Ports of this pod's loopback, to which a router sends what is for one participant each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from towline.agent.claims import Claims
from towline.agent.context import Context
from towline.agent.tcp import TcpPort
from towline.agent.telling import tell_of_one
from towline.wire.target import Port, Protocol, Target


class Slots:
    """Those that there are now. One that is claimed before it is opened is opened later.

    There are none until `wanted` is set.
    """

    def __init__(self, context: Context) -> None:
        self.wanted = False
        self._context = context
        self._slots: dict[int, TcpPort] = {}
        self._open: set[int] = set()

    def claims(self, port: Port) -> Claims:
        """Who has a port. Raises KeyError for one that can be none."""
        if not self.wanted or port.protocol is not Protocol.TCP:
            raise KeyError(port)
        return self._slot(port.number).claims

    async def open(self, wanted: Mapping[int, Target | None]) -> None:
        """Listen on these, each with its original. Raises OSError when one cannot be had."""
        for number, original in wanted.items():
            slot = self._slot(number)
            slot.original = original
            if number not in self._open:
                await slot.start()
                self._open.add(number)

    def keep(self, wanted: Mapping[int, Target | None]) -> None:
        """Listen on no others any more; their claims end."""
        for number in self._open - set(wanted):
            self._open.discard(number)
            slot = self._slots.pop(number)
            slot.claims.end()
            slot.close()

    @property
    def absent(self) -> Mapping[int, float]:
        """For how many seconds nobody has claimed which."""
        return {number: self._slots[number].claims.idle_seconds for number in self._open}

    def release(self) -> None:
        """End all claims."""
        for slot in self._slots.values():
            slot.claims.end()

    def close(self) -> None:
        """Listen no more."""
        for slot in self._slots.values():
            slot.close()

    def _slot(self, number: int) -> TcpPort:
        if number not in self._slots:
            slot = TcpPort(Port(number), None, self._context, inside=True)
            slot.claims.changed = partial(tell_of_one, number)
            self._slots[number] = slot
        return self._slots[number]
