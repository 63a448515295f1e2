"""Whether the programs of this machine that are to answer do listen."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

from towline.errors import TowlineError
from towline.features.local.expose import Exposed
from towline.features.state import Narrator
from towline.wire.target import Port, Protocol

# How often it is looked whether a program listens by now.
LOOK_SECONDS = 1.0
# The same where the whole session waits for it.
LOOK_OFTEN_SECONDS = 0.1
LOOKS_IN_SILENCE = 20


class Programs:
    """The programs that connections are brought to; `otherwise` says what becomes of those until
    a program listens.

    One that has listened is not looked at any more, as that would disturb it: :meth:`refused` is
    to be called when it turns out to be gone.
    """

    def __init__(self, exposed: Sequence[Exposed], tell: Narrator, otherwise: str) -> None:
        self._exposed = {each.remote: each for each in exposed}
        self._tell = tell
        self._otherwise = otherwise
        self._missing: set[Port] = set()
        self._any_missing = asyncio.Event()

    async def require(self) -> None:
        """Raise TowlineError unless all listen."""
        for each in self._exposed.values():
            if not await each.is_served():
                raise TowlineError(
                    f"Nothing listens on {_where(each)}.",
                    "Start the program first; or leave out --strict, and it is waited for.",
                )

    async def await_all(self, whose: str) -> None:
        """Wait until all listen; `whose` they are is told."""
        for each in self._exposed.values():
            message = f"Waiting for {whose} to listen on {_where(each)}"
            self._tell.progress(message)
            for look in itertools.count():
                if await each.is_served():
                    break
                if look == LOOKS_IN_SILENCE:
                    self._tell.event("waiting", f"{message}.")
                await asyncio.sleep(LOOK_OFTEN_SECONDS)

    async def watch(self) -> None:
        """Tell of each program that does not listen, and when it does; until cancelled."""
        for port, each in self._exposed.items():
            if not await each.is_served():
                self.refused(port)
        while True:
            await self._any_missing.wait()
            await asyncio.sleep(LOOK_SECONDS)
            for port, each in self._exposed.items():
                if port in self._missing and await each.is_served():
                    self._missing.discard(port)
                    self._tell.event("served", f"{_where(each)} answers now.")
            if not self._missing:
                self._any_missing.clear()

    def refused(self, *ports: Port) -> None:
        """Note that nothing listens here for ports of the cluster."""
        for port in set(ports) - self._missing:
            self._missing.add(port)
            self._any_missing.set()
            where = _where(self._exposed[port])
            self._tell.event(
                "unserved", f"Nothing listens on {where}: {self._otherwise} until it does."
            )


def _where(exposed: Exposed) -> str:
    suffix = "/udp" if exposed.remote.protocol is Protocol.UDP else ""
    return f"{exposed.local.host}:{exposed.local.port}{suffix}"
