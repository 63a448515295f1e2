"""When what was known of the network is to be looked at again: it changed, or this machine slept.

Linux tells of changes to links, addresses and routes by rtnetlink(7), which needs no rights;
elsewhere only the sleep is seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable

# A pulse so often; one that is late by more was held up, with all of this process.
PULSE_SECONDS = 1.0
ASLEEP_SECONDS = 3.0
# Changes come in bursts, and what follows the first may undo it: look once they are over.
BURST_SECONDS = 0.1
# Groups of linux/rtnetlink.h: links, and the addresses and routes of both families.
_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV4_ROUTE = 0x1, 0x10, 0x40
_RTMGRP_IPV6_IFADDR, _RTMGRP_IPV6_ROUTE = 0x100, 0x400
_GROUPS = (
    _RTMGRP_LINK
    | _RTMGRP_IPV4_IFADDR
    | _RTMGRP_IPV4_ROUTE
    | _RTMGRP_IPV6_IFADDR
    | _RTMGRP_IPV6_ROUTE
)
_READ_BYTES = 65536


def clock() -> float:
    """Seconds that go on while this machine sleeps, where there is such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Awakening:
    """Calls `on_awakening` after each of these, until it is closed."""

    def __init__(self, on_awakening: Callable[[], None], now: Callable[[], float] = clock) -> None:
        self._on_awakening = on_awakening
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.TimerHandle | None = None
        self._last = now()
        self._pulse = self._loop.call_later(PULSE_SECONDS, self._beat)
        self._changes = _changes()
        if self._changes is not None:
            self._loop.add_reader(self._changes, self._changed)

    def close(self) -> None:
        """Tell no more."""
        self._pulse.cancel()
        if self._told is not None:
            self._told.cancel()
        if self._changes is not None:
            self._loop.remove_reader(self._changes)
            self._changes.close()

    def _beat(self) -> None:
        late = self._now() - self._last - PULSE_SECONDS
        self._last = self._now()
        self._pulse = self._loop.call_later(PULSE_SECONDS, self._beat)
        if late > ASLEEP_SECONDS:
            self._on_awakening()

    def _changed(self) -> None:
        assert self._changes is not None
        # What they say does not matter, nor that some were lost because there were too many.
        with contextlib.suppress(OSError):
            while self._changes.recv(_READ_BYTES):
                pass
        if self._told is None:
            self._told = self._loop.call_later(BURST_SECONDS, self._tell)

    def _tell(self) -> None:
        self._told = None
        self._on_awakening()


def _changes() -> socket.socket | None:
    """A socket on which the kernel tells of each change; None where it does not."""
    if not hasattr(socket, "AF_NETLINK"):
        return None
    try:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except OSError:  # a sandbox without netlink
        return None
    made.setblocking(False)
    try:
        made.bind((0, _GROUPS))
    except OSError:
        made.close()
        return None
    return made
