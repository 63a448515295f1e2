"""Passes queries on, untouched, to the nameservers that this machine has anyway."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING

from towline.errors import TowlineError
from towline.relay.dnsclient import SocketFactory, exchange_tcp, exchange_udp, open_socket
from towline.wire.dns import DnsError, Rcode, read_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from towline.dns.resolvconf import ResolvConf

logger = logging.getLogger(__name__)

# Longer than any stub resolver waits for one try (glibc, musl and Go: 5 s).
DEADLINE_SECONDS = 10.0

# Each question has a socket of its own; a burst must not use up the process's descriptors.
MAX_SOCKETS = 128

# Replies that mean "ask another server" to a stub resolver.
_NEXT_SERVER = frozenset({Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED})


class UpstreamError(TowlineError):
    """No nameserver of this machine answered."""


class Upstream:
    """Asks the nameservers of a resolv.conf in its order, or in turns with `options rotate`.

    The client waits `timeout` seconds for what it takes to be one nameserver, so within that
    time all of them are asked: the next one after a share of it, or at once when one fails.
    The first good reply counts, whoever it comes from.
    """

    def __init__(
        self,
        config: Callable[[], ResolvConf],
        *,
        factory: SocketFactory = open_socket,
        port: int = 53,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        """`factory` makes the sockets, marked so that they are not redirected to ourselves."""
        self._config = config
        self._factory = factory
        self._port = port
        self._deadline = deadline
        self._turn = itertools.count()
        self._sockets = asyncio.Semaphore(MAX_SOCKETS)

    async def ask(self, query: bytes, tcp: bool) -> bytes:
        """Return a nameserver's reply to `query`, asked by the transport the client used.

        A truncated reply is returned as it is: the client then comes by TCP. Raise
        UpstreamError when no nameserver replies within the deadline.
        """
        conf = self._config()
        servers = self._in_order(conf)
        share = conf.timeout / (len(servers) + 1)
        reply = await self._first_good(query, servers, tcp, share)
        if reply is None:
            raise UpstreamError(f"no reply from nameserver {', '.join(servers)}")
        return reply

    def _in_order(self, conf: ResolvConf) -> tuple[str, ...]:
        servers = conf.nameservers
        first = next(self._turn) % len(servers) if conf.rotate else 0
        return servers[first:] + servers[:first]

    async def _first_good(
        self, query: bytes, servers: tuple[str, ...], tcp: bool, share: float
    ) -> bytes | None:
        """Return the first reply that is an answer, else one that is not, else None."""
        waiting = list(servers)
        pending: set[asyncio.Task[bytes | None]] = set()
        poor = None
        end = asyncio.get_running_loop().time() + self._deadline
        async with asyncio.TaskGroup() as group:
            while waiting or pending:
                if waiting:
                    asking = self._ask_server(query, waiting.pop(0), tcp, end)
                    pending.add(group.create_task(asking))
                done, pending = await asyncio.wait(
                    pending, timeout=share, return_when=asyncio.FIRST_COMPLETED
                )
                replies = [reply for task in done if (reply := task.result()) is not None]
                good = next((reply for reply in replies if _is_answer(reply)), None)
                poor = poor or next(iter(replies), None)
                if good or (poor and not done and not waiting):
                    _cancel(pending)
                    return good or poor
        return poor

    async def _ask_server(self, query: bytes, host: str, tcp: bool, end: float) -> bytes | None:
        exchange = exchange_tcp if tcp else exchange_udp
        try:
            async with asyncio.timeout_at(end), self._sockets:
                return await exchange(
                    query, (host, self._port), timeout=self._deadline, factory=self._factory
                )
        except (OSError, EOFError, DnsError) as error:
            logger.debug("nameserver %s: %s", host, error)
            return None


def _is_answer(reply: bytes) -> bool:
    return read_header(reply)[1] & 0xF not in _NEXT_SERVER


def _cancel(tasks: set[asyncio.Task[bytes | None]]) -> None:
    for task in tasks:
        task.cancel()
