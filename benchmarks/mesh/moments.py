"""How long joining and leaving takes, and whether a request is lost when many do."""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks import weights
from benchmarks.mesh.stage import HERE, MESHED, ORIGIN, PORT, Stage
from tests.e2e.load import load
from tests.e2e.waiting import until

AT_ONCE = 4
_LOAD_CLIENTS = 4
_PAUSE_SECONDS = 0.01
_PATIENCE_SECONDS = 30.0
_ANSWERED_SECONDS = 60.0

Seen = dict[str, float]


def starts(stage: Stage, rtt: int, times: int, say: Callable[[str], None]) -> dict[str, Seen]:
    """By who one is, the `first` or one who `joins`: medians of seconds from the command until it
    is `ready` and until the first request is `answered` here, and from its interrupt until they
    are answered by the pods (`back`) and until it has ended (`ended`).
    """
    found: dict[str, list[Seen]] = {"first": [], "joins": []}
    for number in range(times):
        say(f"meshing, {number + 1} of {times}")
        found["first"].append(_start(stage, rtt, "ada"))
        stage.await_put_back()
    with stage.meshing(rtt, "eve"):
        for number in range(times):
            say(f"joining a mesh, {number + 1} of {times}")
            found["joins"].append(_start(stage, rtt, "ada"))
    stage.await_put_back()
    return {
        who: {name: statistics.median(each[name] for each in seen) for name in seen[0]}
        for who, seen in found.items()
    }


def crowd(stage: Stage, rtt: int, joins: int) -> Seen:
    """So many joins and leaves, some at once, while others ask without a rule for them: `requests`
    of those, and `lost` ones, or such that somebody else has answered.
    """
    lab = stage.ground.lab
    with stage.meshing(rtt, "eve"):
        until(lambda: stage.who_answers("eve") == HERE, _ANSWERED_SECONDS, "answers from here")
        asking = load(
            lab,
            stage.meshed,
            PORT,
            clients=_LOAD_CLIENTS,
            patience_seconds=_PATIENCE_SECONDS,
            pause_seconds=_PAUSE_SECONDS,
        )
        with asking as under, ThreadPoolExecutor(AT_ONCE) as pool:
            names = [f"p{number}" for number in range(joins)]
            list(pool.map(lambda name: _visit(stage, rtt, name), names))
            under.await_more(_LOAD_CLIENTS * 10)
    stage.await_put_back()
    strange = sum(count for name, count in under.answers.items() if name != ORIGIN)
    return {"joins": joins, "requests": under.count, "lost": len(under.failures) + strange}


def memory(stage: Stage, rtt: int, participants: int, say: Callable[[str], None]) -> Seen:
    """Megabytes of the router by the number of participants."""
    found: Seen = {}
    with ExitStack() as stack:
        _, ready = stack.enter_context(stage.meshing(rtt, "p0"))
        router = _router_of(ready["agent"])
        found["1"] = weights.resident([router])
        say(f"letting {participants} take part at a time")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            contexts = [stage.meshing(rtt, f"p{number}") for number in range(1, participants)]
            for entered in pool.map(lambda context: (context, context.__enter__()), contexts):
                stack.push(entered[0])
        for number in range(participants):
            assert stage.who_answers(f"p{number}") == HERE, number
        found[str(participants)] = weights.resident([router])
    stage.await_put_back()
    return found


def _start(stage: Stage, rtt: int, who: str) -> Seen:
    with stage.meshing(rtt, who) as (process, ready):
        until(lambda: stage.who_answers(who) == HERE, _ANSWERED_SECONDS, "an answer from here")
        answered = time.monotonic() - ready["began"]
        interrupted = time.monotonic()
        process.send_signal(signal.SIGINT)
        until(lambda: stage.who_answers(who) == ORIGIN, _ANSWERED_SECONDS, "an answer of the pods")
        back = time.monotonic() - interrupted
        process.wait(_ANSWERED_SECONDS)
        ended = time.monotonic() - interrupted
    return {
        "says": ready["seconds"],
        "ready": ready["outside"],
        "answered": answered,
        "back": back,
        "ended": ended,
    }


def _visit(stage: Stage, rtt: int, who: str) -> None:
    with stage.meshing(rtt, who):
        until(lambda: stage.who_answers(who) == HERE, _ANSWERED_SECONDS, f"{MESHED} for {who}")


def _router_of(pod: str) -> int:
    """The router's process in a pod."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is_router(entry, pod):
            return int(entry.name)
    raise AssertionError(f"no router in {pod}")


def _is_router(entry: Path, pod: str) -> bool:
    try:
        name = (entry / "cmdline").read_bytes().partition(b"\0")[0]
        return name == b"envoy" and (entry / "root/etc/hostname").read_text().strip() == pod
    except OSError:
        return False
