"""What an agent tells on standard error of its session, for whoever asks if that is still there."""

from __future__ import annotations

import re
import sys

#: It has no transport at the moment, which may pass.
AWAY = "towline: the session is away"
#: It has had none for longer than the agent waits.
GONE = "towline: the session is gone"
BACK = "towline: the session is back"
# Of one of several sessions, which is known by the port that it has of its own here.
_ONE = re.compile(r"towline: the session of port ([0-9]+) is (there|away)")


def tell(line: str) -> None:
    """Write one of the above, at once."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def tell_of_one(port: int, there: bool) -> None:
    """Write that the session that has a port of its own is there, or is not."""
    tell(f"towline: the session of port {port} is {'there' if there else 'away'}")


def away(log: str) -> frozenset[int]:
    """The ports whose sessions were away when a log was read."""
    told = [found for line in log.splitlines() if (found := _ONE.fullmatch(line))]
    last = {int(found[1]): found[2] for found in told}
    return frozenset(port for port, what in last.items() if what == "away")


def last_told(log: str) -> str:
    """Which of the above was told last when a log was read; "" when none was."""
    told = [line for line in log.splitlines() if line in (AWAY, GONE, BACK)]
    return told[-1] if told else ""
