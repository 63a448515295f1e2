"""What a session says when its link is lost and when it is back, and how soon that is."""

from __future__ import annotations

import json
import time

from tests.e2e.laptop import Laptop
from tests.e2e.tow import Session
from tests.e2e.waiting import until

# Once there is a network again, and besides what a new agent takes.
PROMISED_SECONDS = 5.0
_AT_MOST_SECONDS = 60.0
_WORKS_SECONDS = 10.0
_CURL_SECONDS = 5.0


def works(laptop: Laptop, host: str = "web") -> bool:
    """Whether a name of the cluster, and a connection there, do what they should."""
    done = laptop.run("curl", "-sS", "--max-time", f"{_CURL_SECONDS}", f"http://{host}")
    return done.returncode == 0 and json.loads(done.stdout)["name"] == "web"


def told(session: Session, after: int = 0) -> list[str]:
    """What it has said of its link, by kind, since so many events."""
    kinds = ("reconnecting", "reconnected")
    return [each["event"] for each in session.events[after:] if each["event"] in kinds]


def assert_back(laptop: Laptop, session: Session, after: int, seconds: float) -> None:
    """It is within that time from now, and says so in one line; names and addresses work."""
    began = time.monotonic()
    session.event("reconnected", after=after, seconds=_AT_MOST_SECONDS)
    took = time.monotonic() - began
    until(lambda: works(laptop), _WORKS_SECONDS, "flows to work again")
    assert told(session, after) == ["reconnecting", "reconnected"], session.events[after:]
    assert took < seconds


def assert_goes_on(laptop: Laptop, session: Session, after: int) -> None:
    """Flows work soon, and it says so if its link was down: not if one transport after the other
    was found silent, and the first was replaced by then.
    """
    until(lambda: works(laptop), PROMISED_SECONDS + _CURL_SECONDS, "flows to work again")
    if told(session, after):
        session.event("reconnected", after=after, seconds=PROMISED_SECONDS)
        assert told(session, after) == ["reconnecting", "reconnected"], session.events[after:]


def start_of_agent(session: Session) -> float:
    """How many seconds a pod takes to start, here and now: as long as at its beginning."""
    seconds: float = session.ready()["seconds"]
    return seconds
