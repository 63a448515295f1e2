"""What an agent tells on standard error of its session, for whoever asks if that is still there."""

from __future__ import annotations

import sys

#: It has no transport at the moment, which may pass.
AWAY = "towline: the session is away"
#: It has had none for longer than the agent waits.
GONE = "towline: the session is gone"
BACK = "towline: the session is back"


def tell(line: str) -> None:
    """Write one of the above, at once."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def last_told(log: str) -> str:
    """Which of the above was told last when a log was read; "" when none was."""
    told = [line for line in log.splitlines() if line in (AWAY, GONE, BACK)]
    return told[-1] if told else ""
