"""What is said of a destination that cannot be reached."""

from __future__ import annotations

from towline.wire.frames import Reason

# A connection waits so long for a link that is coming back before it is given up.
PATIENCE_SECONDS = 10.0

_WORDS = {
    Reason.REFUSED: "it is refused there",
    Reason.NET_UNREACHABLE: "there is no route to it",
    Reason.HOST_UNREACHABLE: "nobody is there, or no route leads to it",
    Reason.TIMED_OUT: "it does not answer",
    Reason.UNRESOLVED: "its name has no address",
    Reason.PROHIBITED: "a firewall forbids it",
    Reason.EXHAUSTED: "the agent has no room for it",
    Reason.INTERNAL: "that has failed for a reason that is not known",
}
_LOST = "the link to the cluster is lost"
# A connection that ends so has been made.
_MADE = (Reason.RESET, Reason.CANCELLED)


def why(reason: Reason | None) -> str:
    """Why a connection did not come about, in words; "" when it did, however it ended."""
    if reason is None or reason in _MADE:
        return ""
    return _WORDS.get(reason, _LOST)
