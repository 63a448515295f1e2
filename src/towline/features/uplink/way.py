"""A way into the cluster, which is there for as long as one likes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from towline.features.state import Answer


class Way(Protocol):
    """What `connect`, `proxy` and `forward` have in common."""

    def status(self) -> dict[str, Any]:
        """How it is doing, fit for JSON."""

    def answers(self) -> Mapping[str, Answer]:
        """What else it answers from other processes, by their commands."""
        return {}

    def open(self) -> AbstractAsyncContextManager[None]:
        """Inside, it leads there; afterwards nothing is left.

        Raises TowlineError, possibly in an exception group, for whatever stands in the way.
        """

    async def ended(self) -> None:
        """Wait until it cannot go on; raises TowlineError with the reason."""
        await asyncio.Event().wait()
