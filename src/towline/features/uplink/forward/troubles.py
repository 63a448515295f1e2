"""Tells the user once that a port cannot be reached, until it can be again."""

from __future__ import annotations

from towline.features.state import Narrator
from towline.features.uplink.forward.ports import Chosen


class Troubles:
    """What there is to say of the connections to `target`."""

    def __init__(self, target: str, tell: Narrator) -> None:
        self._target = target
        self._tell = tell
        self._told: dict[Chosen, str] = {}

    def failed(self, port: Chosen, why: str) -> None:
        """A connection did not come about."""
        if self._told.get(port) != why:
            self._told[port] = why
            self._tell.event(
                "unreachable",
                f"A connection to {self._target}, port {port.remote}, was reset: {why}.",
                remote=port.remote.number,
                protocol=port.remote.protocol.name,
                reason=why,
            )

    def worked(self, port: Chosen) -> None:
        """One did: the next trouble is news."""
        self._told.pop(port, None)
