"""Which port of this machine answers for which one there: `--expose LOCAL[:REMOTE][/PROTOCOL]`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from towline.errors import UsageError
from towline.features.local import udpports
from towline.wire.target import Port, Protocol, Target

LOOK_SECONDS = 1.0
LOCALHOST = "localhost"
# Whatever /etc/hosts says of its name: programs listen on either, or both.
LOOPBACKS = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Exposed:
    """A port of the cluster, and the program of this machine that answers there."""

    remote: Port
    local: Target

    def status(self) -> dict[str, Any]:
        """Both ends, fit for JSON."""
        return {
            "remote": self.remote.number,
            "protocol": self.remote.protocol.name,
            "local": f"{self.local.host}:{self.local.port}",
        }

    async def is_served(self) -> bool:
        """Whether a program listens at this machine's end, as far as can be seen."""
        if self.remote.protocol is Protocol.UDP:
            return self.local.host != LOCALHOST or bool(udpports.loopbacks(self.local.port))
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                (await connect(asyncio.Protocol, self.local)).close()
                return True
        return False


async def connect(factory: Callable[[], asyncio.BaseProtocol], local: Target) -> asyncio.Transport:
    """Connect to a program of this machine. Raises OSError when none listens."""
    loop = asyncio.get_running_loop()
    if local.host == LOCALHOST:
        with suppress(ConnectionRefusedError):
            transport, _ = await loop.create_connection(factory, LOOPBACKS[0], local.port)
            return transport
    host = LOOPBACKS[1] if local.host == LOCALHOST else local.host
    transport, _ = await loop.create_connection(factory, host, local.port)
    return transport


@dataclass(frozen=True, slots=True)
class Wish:
    """One `[HOST:]LOCAL[:REMOTE][/PROTOCOL]` as written; `local` is 0 if only a name was given."""

    host: str
    local: int
    remote: str


def wishes(texts: Iterable[str]) -> list[Wish]:
    """Read what `--expose` was given, several with commas between. Raises UsageError."""
    return [_wish(part.strip()) for text in texts for part in text.split(",")]


def parse(texts: Iterable[str]) -> tuple[Exposed, ...]:
    """The same where ports have no names. Raises UsageError."""
    found = [_exposed(wish) for wish in wishes(texts)]
    remotes = [each.remote for each in found]
    for remote in remotes:
        if remotes.count(remote) > 1:
            raise UsageError(f"Port {remote} of the cluster is exposed twice.")
    return tuple(found)


def _exposed(wish: Wish) -> Exposed:
    try:
        return Exposed(Port.parse(wish.remote), Target(wish.host, wish.local))
    except ValueError:
        raise _meaningless(wish.remote) from None


def _wish(text: str) -> Wish:
    ports, slash, protocol = text.partition("/")
    words = ports.split(":")
    if len(words) == 1 and words[0] and not words[0].isdecimal() and not slash:
        return Wish(LOCALHOST, 0, words[0])
    host = LOCALHOST if words[0].isdecimal() else words.pop(0)
    try:
        local, remote = words if len(words) == 2 else [*words, *words]
        if not remote:
            raise ValueError(text)
        return Wish(host, Port.parse(local).number, remote + slash + protocol)
    except ValueError:
        raise _meaningless(text) from None


def _meaningless(text: str) -> UsageError:
    return UsageError(
        f"'{text}' does not say what to expose.",
        "Write LOCAL or LOCAL:REMOTE, as in --expose 8080:80, for UDP --expose 5353:53/udp.",
    )
