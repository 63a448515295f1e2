"""The addresses of originals, which are known by the names of Services."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence

# After so many failures each who wants the addresses may try.
TRIES = 5
RETRY_SECONDS = 1.0


class Addresses:
    """What names stand for, looked up once: a Service keeps its addresses as long as it lives.

    A lookup for each connection would cost time, and some are lost: of two that leave a pod at
    the same time, as for both families, conntrack may drop one, and the resolver waits 5 s.
    """

    def __init__(self) -> None:
        self._known: dict[str, list[str]] = {}

    def of(self, host: str) -> Sequence[str]:
        """Those of a host, to be tried in order; while they are not known, the host itself."""
        return self._known.get(host, [host])

    async def find(self, host: str) -> None:
        """Look a host up."""
        loop = asyncio.get_running_loop()
        for _ in range(TRIES):
            with contextlib.suppress(OSError):
                found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
                self._known[host] = [str(address[0]) for *_, address in found]
                return
            await asyncio.sleep(RETRY_SECONDS)
