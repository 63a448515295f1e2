"""Which port of this machine answers for which one in the cluster: `--expose LOCAL[:REMOTE]`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from towline.errors import UsageError
from towline.wire.target import Target

LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Exposed:
    """A port of the cluster, and the program of this machine that answers there."""

    remote: int
    local: Target

    def __str__(self) -> str:
        return f"{self.remote} → {self.local.host}:{self.local.port}"

    async def is_served(self) -> bool:
        """Whether a program listens at this machine's end."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                _, writer = await asyncio.open_connection(self.local.host, self.local.port)
                writer.close()
                return True
        return False


def parse(texts: Iterable[str]) -> tuple[Exposed, ...]:
    """Read `[HOST:]LOCAL[:REMOTE]`, several with commas between. Raises UsageError."""
    found = [_one(part.strip()) for text in texts for part in text.split(",")]
    remotes = [each.remote for each in found]
    for remote in remotes:
        if remotes.count(remote) > 1:
            raise UsageError(f"Port {remote} of the cluster is exposed twice.")
    return tuple(found)


def _one(text: str) -> Exposed:
    words = text.split(":")
    host = "localhost" if words[0].isdecimal() else words.pop(0)
    try:
        local, remote = map(_port, words if len(words) == 2 else [*words, *words])
    except ValueError:
        raise UsageError(
            f"'{text}' does not say what to expose.",
            "Write LOCAL or LOCAL:REMOTE, as in --expose 8080:80.",
        ) from None
    return Exposed(remote, Target(host, local))


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise ValueError(text)
    return number
