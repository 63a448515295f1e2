"""The addresses that names of the cluster have had, each for as long as somebody may use it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from towline.cluster.ranges import Address

# A program may keep an address for longer than the records say that it holds, and not speak to
# it all the time: pools of connections, and whoever looks a name up when it starts, do.
KEEP_SECONDS = 3600.0


@dataclass(slots=True)
class _Kept:
    """For how long an address is kept after its last use, and until when for now (loop time)."""

    seconds: float
    until: float


class Named:
    """Keeps each address until its name was not looked up, nor itself used, for its lifetime.

    That is KEEP_SECONDS, or what its record says if that is more. Each datagram is a use, and a
    connection for as long as it is open.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._kept: dict[Address, _Kept] = {}
        self._open: Counter[Address] = Counter()

    def __contains__(self, address: Address) -> bool:
        """Whether it is kept."""
        return address in self._kept

    def keep(self, address: Address, seconds: float) -> None:
        """Keep an address of which an answer says that it holds for so long."""
        seconds = max(seconds, KEEP_SECONDS)
        self._kept[address] = _Kept(seconds, self._loop.time() + seconds)

    def used(self, address: Address) -> None:
        """Somebody speaks with an address, whether it is kept or not."""
        if kept := self._kept.get(address):
            kept.until = self._loop.time() + kept.seconds

    def opened(self, address: Address) -> None:
        """A connection to an address begins; :meth:`closed` is to follow."""
        self._open[address] += 1

    def closed(self, address: Address) -> None:
        """It has ended."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]
        self.used(address)

    def drop_expired(self) -> list[Address]:
        """Keep those no longer whose time is up; gives them."""
        now = self._loop.time()
        gone = [
            address
            for address, kept in self._kept.items()
            if kept.until <= now and address not in self._open
        ]
        for address in gone:
            del self._kept[address]
        return gone
