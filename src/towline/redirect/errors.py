"""How a dial can fail, as the program that connects is told."""

from __future__ import annotations

import enum

from towline.errors import TowlineError


class Reason(enum.Enum):
    """Why a destination did not accept, and what connect() says of it."""

    REFUSED = "refused"  # ECONNREFUSED
    HOST_UNREACHABLE = "host unreachable"  # EHOSTUNREACH
    NET_UNREACHABLE = "net unreachable"  # ENETUNREACH
    TIMED_OUT = "timed out"  # nothing: the program's own time runs out
    LINK_LOST = "link lost"  # nothing: the program's next SYN may find the link again


class DialError(TowlineError):
    """A destination could not be reached through the link."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason
