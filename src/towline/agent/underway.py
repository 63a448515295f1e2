"""What is under way at the agent's ports and no session's: an agent that ends waits for it."""

from __future__ import annotations

import asyncio

LOOK_SECONDS = 0.1


class Underway:
    """Counts the connections that are offered or passed by, and knows when the last one came."""

    def __init__(self) -> None:
        self.open = 0
        self._last_came = 0.0  # loop time

    def came(self) -> None:
        """Note that a connection has come; it counts until `open` is lowered for it."""
        self.open += 1
        self.datagram_came()

    def datagram_came(self) -> None:
        """Note that a datagram has come: its answer, if any, comes soon."""
        self._last_came = asyncio.get_running_loop().time()

    async def quiet(self, seconds: float) -> None:
        """Wait until none is open and, from now on, none has come for `seconds`."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            left = max(began, self._last_came) + seconds - loop.time()
            if not self.open and left <= 0:
                return
            await asyncio.sleep(max(left, LOOK_SECONDS))
