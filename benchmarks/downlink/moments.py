"""What clients of a service see when an exchange begins, ends, or loses its laptop."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from benchmarks import ways
from benchmarks.downlink.stage import (
    APPLICATION,
    APPLICATION_PORT,
    HERE,
    LOCAL_APPLICATION_PORT,
    Stage,
)
from tests.e2e.load import Load, Request, load
from tests.e2e.outage import outage_of
from tests.e2e.waiting import until
from tests.e2e.workloads import HTTP

MODES = {"selector": f"svc/{APPLICATION}", "ephemeral": f"deploy/{APPLICATION}"}
"""What is exchanged in each mode."""

# Clients that leave most of the machine to what they look at.
_PAUSE_SECONDS = 0.01
_LIGHT_CLIENTS, _STEADY_CLIENTS = 1, 4
# A request that waits is no lost one, and the gap that it leaves is seen all the same.
_PATIENCE_SECONDS = 30.0
# So many answers come before and after what is looked at.
_SETTLED = 100
_ANSWERED_SECONDS = 60.0

Seen = dict[str, float]


def starts(stage: Stage, rtt: int, times: int, say: Callable[[str], None]) -> dict[str, Seen]:
    """By mode, medians of seconds from the command: `ready`, when it says that it is live, and
    `answered`, when a client has the first answer of the program here; `says` is what it says
    itself.
    """
    found: dict[str, list[Seen]] = {mode: [] for mode in MODES}
    for _ in range(times):
        for mode in MODES:
            say(f"starting tow exchange --mode {mode}")
            found[mode].append(_start(stage, rtt, mode))
    return {
        mode: {name: statistics.median(each[name] for each in seen) for name in seen[0]}
        for mode, seen in found.items()
    }


def disturbances(stage: Stage, rtt: int, times: int, say: Callable[[str], None]) -> dict[str, Seen]:
    """By what happens to the laptop: `seconds`, the longest time without an answer, the worst of
    all; `requests` asked from then on, and `lost` of them.
    """
    found: dict[str, list[Seen]] = {"killed": [], "silent": []}
    for _ in range(times):
        say("killing tow exchange")
        found["killed"].append(_killed(stage, rtt))
        say("silencing the laptop of tow exchange")
        found["silent"].append(_silent(stage, rtt))
    return {
        name: {
            "seconds": max(each["seconds"] for each in seen),
            "requests": sum(each["requests"] for each in seen),
            "lost": sum(each["lost"] for each in seen),
        }
        for name, seen in found.items()
    }


def switches(stage: Stage, rtt: int, requests: int, times: int) -> Seen:
    """An exchange that begins and ends again and again under load: `requests` asked meanwhile,
    `lost` of them, `switches`, and `seconds`, the longest time without an answer.
    """
    share = requests // (2 * times)
    with load(stage.ground.lab, stage.application, HTTP) as under:
        for _ in range(times):
            under.await_answer(APPLICATION, _ANSWERED_SECONDS)
            with _exchanging(stage, rtt):
                under.await_answer(HERE, _ANSWERED_SECONDS)
                under.await_more(share)
            under.await_answer(APPLICATION, _ANSWERED_SECONDS)
            under.await_more(share)
    stage.await_put_back()
    return {
        "seconds": longest_gap(under.requests, 0.0),
        "requests": under.count,
        "lost": len(under.failures),
        "switches": 2 * times,
    }


def longest_gap(requests: Iterable[Request], moment: float) -> float:
    """The longest time from an answer to the next one, of those that came after a moment."""
    answered = sorted(request.ended for request in requests if not request.error)
    gaps = (after - before for before, after in itertools.pairwise(answered) if after > moment)
    return max(gaps, default=0.0)


def _start(stage: Stage, rtt: int, mode: str) -> Seen:
    with _asking(stage, _LIGHT_CLIENTS) as under:
        under.await_more(_SETTLED // 4)
        with _exchanging(stage, rtt, mode) as (_, ready):
            began = ready["began"]

            def first() -> Request | None:
                return next((each for each in under.since(began) if each.answer == HERE), None)

            answered = until(first, _ANSWERED_SECONDS, "an answer from here")
            assert answered
        under.await_answer(APPLICATION, _ANSWERED_SECONDS)
    stage.await_put_back()
    return {
        "says": ready["seconds"],
        "ready": ready["outside"],
        "answered": answered.ended - began,
    }


def _killed(stage: Stage, rtt: int) -> Seen:
    with _asking(stage, _STEADY_CLIENTS) as under:
        with _exchanging(stage, rtt, "selector", "--grace=2") as (process, _):
            _await_settled(under, HERE)
            moment = time.monotonic()
            process.kill()
            process.wait()
            _await_settled(under, APPLICATION)
        # The agent puts the service back by itself; that is to be as unnoticed.
        stage.await_put_back()
        under.await_more(_SETTLED)
    return _seen(under, moment)


def _silent(stage: Stage, rtt: int) -> Seen:
    session = _exchanging(stage, rtt, "selector", "--grace=120")
    with _asking(stage, _STEADY_CLIENTS) as under, session:
        _await_settled(under, HERE)
        moment = time.monotonic()
        with outage_of(stage.ground.lab):
            _await_settled(under, APPLICATION)
        _await_settled(under, HERE)
        seen = _seen(under, moment)
    stage.await_put_back()
    return seen


def _await_settled(under: Load, name: str) -> None:
    under.await_answer(name, _ANSWERED_SECONDS)
    under.await_more(_SETTLED)


def _seen(under: Load, moment: float) -> Seen:
    asked = under.since(moment)
    return {
        "seconds": longest_gap(under.requests, moment),
        "requests": len(asked),
        "lost": len([request for request in under.failures if request.ended >= moment]),
    }


def _asking(stage: Stage, clients: int) -> AbstractContextManager[Load]:
    return load(
        stage.ground.lab,
        stage.application,
        HTTP,
        clients=clients,
        patience_seconds=_PATIENCE_SECONDS,
        pause_seconds=_PAUSE_SECONDS,
    )


def _exchanging(
    stage: Stage, rtt: int, mode: str = "selector", *options: str
) -> AbstractContextManager[ways.Session]:
    remote = HTTP if mode == "selector" else APPLICATION_PORT
    expose = f"--expose={LOCAL_APPLICATION_PORT}:{remote}"
    arguments = (MODES[mode], f"--mode={mode}", expose, *options)
    return ways.session(stage.ground, rtt, "exchange", *arguments)
