"""What an agent tells on standard error of its session, for whoever asks if that is still there."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence

#: It has no transport at the moment, which may pass.
AWAY = "towline: the session is away"
#: It has had none for longer than the agent waits.
GONE = "towline: the session is gone"
BACK = "towline: the session is back"
# Of one of several sessions, which is known by the port that it has of its own here.
_ONE = re.compile(r"towline: the session of port ([0-9]+) is (there|away)")
_USERS = "towline: the sessions are "
#: What is told of each of them.
OF_USER = ("who", "command", "since")


def tell(line: str) -> None:
    """Write one of the above, at once."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def tell_of_one(port: int, there: bool) -> None:
    """Write that the session that has a port of its own is there, or is not."""
    tell(f"towline: the session of port {port} is {'there' if there else 'away'}")


def tell_users(users: Sequence[Mapping[str, str]]) -> None:
    """Write who uses an agent that several share: what each tells of itself."""
    tell(f"{_USERS}{json.dumps(users)}")


def users(log: str) -> list[dict[str, str]] | None:
    """Who used the agent when a log was read; None when it does not tell."""
    for line in reversed(log.splitlines()):
        if line.startswith(_USERS):
            try:
                told = json.loads(line[len(_USERS) :])
                return [{key: str(each[key]) for key in OF_USER} for each in told]
            except (ValueError, TypeError, KeyError):
                return None
    return None


def away(log: str) -> frozenset[int]:
    """The ports whose sessions were away when a log was read."""
    told = [found for line in log.splitlines() if (found := _ONE.fullmatch(line))]
    last = {int(found[1]): found[2] for found in told}
    return frozenset(port for port, what in last.items() if what == "away")


def last_told(log: str) -> str:
    """Which of the above was told last when a log was read; "" when none was."""
    told = [line for line in log.splitlines() if line in (AWAY, GONE, BACK)]
    return told[-1] if told else ""
