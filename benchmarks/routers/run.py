"""All measurements of the proxies."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import weights
from benchmarks.routers import asking, changes, peers
from benchmarks.routers.asking import Way
from benchmarks.routers.proxies import ALL, HEADER, Proxy, await_listening, free_port
from lab import programs

PARTICIPANTS = 50
_SOME_REQUESTS = 100


@dataclass(frozen=True, slots=True)
class Effort:
    """`requests` for each rate, in so many rounds; `streams` open while `changes` are made."""

    rounds: int
    requests: int
    streams: int
    changes: int


FULL = Effort(rounds=5, requests=20_000, streams=50, changes=20)
QUICK = Effort(rounds=1, requests=500, streams=5, changes=2)


def run(effort: Effort, say: Callable[[str], None]) -> dict[str, Any]:
    """By proxy, all figures, fit for JSON: rates per second, seconds, megabytes."""
    peers.ensure()
    programs.ensure_built([programs.ORIGIN])
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        original, other = (stack.enter_context(origin()) for _ in range(2))
        proxies = [make(Path(folder) / make.name, original, other) for make in ALL]
        results: dict[str, Any] = {
            "rounds": effort.rounds,
            "participants": PARTICIPANTS,
            "effort": {"streams": effort.streams, "changes": effort.changes},
            "rates": _rates(proxies, original, effort, say),
        }
        for proxy in proxies:
            say(f"{proxy.name}: weighing it, and changing its rules")
            results[proxy.name] = _figures(proxy, effort)
    return results


@contextmanager
def origin() -> Iterator[int]:
    """A server that costs little: the port on which it answers."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [programs.ORIGIN.built, str(port)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            await_listening(port, Path("/dev/null"))
            yield port
        finally:
            process.kill()
            process.wait()


def _rates(
    proxies: list[Proxy], original: int, effort: Effort, say: Callable[[str], None]
) -> dict[str, dict[str, asking.Answers]]:
    """By way and protocol: medians of the rounds, and `cpu` seconds of the proxy for a request."""
    samples: dict[str, dict[str, list[asking.Answers]]] = {}
    with ExitStack() as stack:
        for proxy in proxies:
            stack.enter_context(proxy.running(PARTICIPANTS))
        for number in range(effort.rounds):
            say(f"routers, round {number + 1} of {effort.rounds}")
            for protocol in asking.PROTOCOLS:
                found = asking.ask(Way(original, protocol), effort.requests)
                samples.setdefault("direct", {}).setdefault(protocol, []).append(found)
                for proxy in proxies:
                    found = _asked(proxy, protocol, effort.requests)
                    samples.setdefault(proxy.name, {}).setdefault(protocol, []).append(found)
    return {
        way: {
            protocol: {name: statistics.median(each[name] for each in found) for name in found[0]}
            for protocol, found in by_protocol.items()
        }
        for way, by_protocol in samples.items()
    }


def _asked(proxy: Proxy, protocol: str, requests: int) -> asking.Answers:
    before = weights.seconds(proxy.pids())
    found = asking.ask(Way(proxy.port_of(protocol), protocol), requests)
    spent = weights.seconds(proxy.pids()) - before
    return found | {"cpu": spent / (requests + requests // 10)}


def _figures(proxy: Proxy, effort: Effort) -> dict[str, float]:
    """`image` of the files, `idle` and `many` of its memory, and what changes do."""
    figures = {"image": weights.size(proxy.files())}
    with proxy.running():
        figures["idle"] = weights.resident(proxy.pids())
        found = asyncio.run(changes.measure(proxy, effort.streams, effort.changes))
    with proxy.running(PARTICIPANTS):
        for number in range(PARTICIPANTS):
            way = Way(proxy.port, "h1", headers=(f"{HEADER}: p{number}",))
            asking.ask(way, _SOME_REQUESTS)
        figures["many"] = weights.resident(proxy.pids())
    return figures | found
