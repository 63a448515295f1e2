"""Asks a server by h2load, which costs little itself.

https://nghttp2.org/documentation/h2load.1.html
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.routers import peers
from benchmarks.ways import BenchmarkError

PROTOCOLS = {
    "h1": ("--h1",),
    "h2": ("--max-concurrent-streams=10",),
    "grpc": ("--max-concurrent-streams=10",),
}
"""HTTP/1.1 and HTTP/2 by GET, and a unary call of gRPC: how each is asked for."""

CLIENTS = 8

# A message as gRPC sends it: not compressed, five bytes long.
_MESSAGE = b"\0\0\0\0\5hello"
_SECONDS = 120.0

Answers = dict[str, float]
"""`rate` per second, of eight clients; `p50` and `p99` in seconds, of one that asks by itself."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where to ask, by which protocol, with which headers; `start` is how to run h2load there."""

    port: int
    protocol: str
    address: str = "127.0.0.1"
    headers: tuple[str, ...] = ()
    start: Callable[..., subprocess.Popen[str]] = subprocess.Popen


def ask(way: Way, requests: int) -> Answers:
    """What clients see. Raises BenchmarkError when a request fails."""
    rate, _ = _load(way, requests, CLIENTS)
    _, times = _load(way, requests // 10, 1)
    times.sort()
    return {
        "rate": rate,
        "p50": statistics.median(times),
        "p99": times[int(len(times) * 0.99)],
    }


def _load(way: Way, requests: int, clients: int) -> tuple[float, list[float]]:
    """The rate, and how long each request took."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        argv = _command(way, requests, clients, Path(folder))
        process = way.start(
            argv,
            env=peers.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            said, _ = process.communicate(timeout=_SECONDS)
        finally:
            process.kill()
        lines = log.read_text().splitlines() if log.exists() else []
    if f" {requests} succeeded, 0 failed" not in said:
        raise BenchmarkError(f"{' '.join(argv)}: {said[-800:]}")
    begins, times = zip(*((int(it[0]), int(it[2])) for it in map(str.split, lines)), strict=True)
    ends = [began + took for began, took in zip(begins, times, strict=True)]
    return requests / (max(ends) - min(begins)) * 1e6, [took / 1e6 for took in times]


def _command(way: Way, requests: int, clients: int, folder: Path) -> list[str]:
    options = [f"--requests={requests}", f"--clients={clients}", f"--log-file={folder}/log"]
    options += PROTOCOLS[way.protocol]
    if clients == 1:
        options.append("--max-concurrent-streams=1")
    headers = [*way.headers]
    if way.protocol == "grpc":
        data = folder / "data"
        data.write_bytes(_MESSAGE)
        options.append(f"--data={data}")
        headers += ["content-type: application/grpc", "te: trailers"]
    options += [f"--header={each}" for each in headers]
    return [peers.program("h2load"), *options, f"http://{way.address}:{way.port}/"]
