"""What an agent tells on standard error of its session, for whoever asks if that is still there."""

from __future__ import annotations

import sys

GONE = "towline: the session is gone"
BACK = "towline: the session is back"


def tell(line: str) -> None:
    """Write one of the above, at once."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def says_gone(log: str) -> bool:
    """Whether the session was gone, for longer than the agent waits, when a log was read."""
    told = [line for line in log.splitlines() if line in (GONE, BACK)]
    return told[-1:] == [GONE]
