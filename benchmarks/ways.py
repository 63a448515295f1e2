"""The ways into the cluster that are measured, each a context in which the target is reached."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.ground import AGENT_IMAGE, FIRST_PORT, NAMESPACE, Ground, python

START_SECONDS = 60.0
STOP_SECONDS = 30.0


class BenchmarkError(Exception):
    """Something did not run as it must for a measurement."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the target is reached: from the `place` ('laptop' or 'node') by address and port.

    With `all_ports`, all of the target's ports are there, not just the first. A program that is
    in between has its `pid` in the `details`.
    """

    name: str
    place: str
    address: str
    port: int
    all_ports: bool = False
    details: dict[str, Any] = field(default_factory=dict)


@contextmanager
def direct(ground: Ground, rtt: int) -> Iterator[Way]:
    """From the node to the pod: what the network itself gives, without any delay."""
    del rtt
    yield Way("direct", "node", ground.address, FIRST_PORT, all_ports=True)


@contextmanager
def kubectl(ground: Ground, rtt: int) -> Iterator[Way]:
    """`kubectl port-forward`."""
    argv = ["kubectl", "port-forward", "-n", NAMESPACE, f"pod/{ground.pod}", f":{FIRST_PORT}"]
    with running(ground, rtt, argv) as process:
        # Forwarding from 127.0.0.1:36227 -> 7000
        port = int(line(process).split()[2].rpartition(":")[2])
        yield Way("kubectl", "laptop", "127.0.0.1", port, details={"pid": process.pid})


@contextmanager
def websocket(ground: Ground, rtt: int) -> Iterator[Way]:
    """A WebSocket port-forward for each connection, without a multiplexer."""
    argv = python("rawforward", NAMESPACE, ground.pod, FIRST_PORT)
    with running(ground, rtt, argv) as process:
        port = int(line(process))
        yield Way("websocket", "laptop", "127.0.0.1", port, details={"pid": process.pid})


@contextmanager
def tow(ground: Ground, rtt: int) -> Iterator[Way]:
    """`tow connect`.

    `details` are what its ready event says, and as `outside` the seconds from the start of the
    process to that event.
    """
    with session(ground, rtt, "connect") as (_, event):
        yield Way("tow", "laptop", ground.address, FIRST_PORT, all_ports=True, details=event)


Session = tuple[subprocess.Popen[str], dict[str, Any]]
"""A process of tow, and its ready event."""


@contextmanager
def session(ground: Ground, rtt: int, command: str, *arguments: str) -> Iterator[Session]:
    """A session of tow, once it is ready.

    The event has, besides, as `began` when the process did, by time.monotonic(), and as `outside`
    the seconds from then to the event.
    """
    words = [str(tow_command()), command, *arguments]
    options = ["--output", "json", "--image", AGENT_IMAGE, "-n", NAMESPACE]
    # The first line tells when the lab's own preparations are over and tow begins.
    argv = ["sh", "-c", 'echo; exec "$@"', "sh", *words, *options]
    with running(ground, rtt, argv) as process:
        line(process)
        began = time.monotonic()
        event: dict[str, Any] = {}
        while event.get("event") != "ready":
            event = json.loads(line(process))
            if event["event"] == "error":
                raise BenchmarkError(f"tow {command}: {event['summary']}")
        yield process, event | {"began": began, "outside": time.monotonic() - began}


def tow_command() -> Path:
    """The `tow` that belongs to this Python."""
    return Path(sys.executable).with_name("tow")


@contextmanager
def running(
    ground: Ground, rtt: int, argv: Sequence[str], place: str = "laptop"
) -> Iterator[subprocess.Popen[str]]:
    """The program, which tells something on its stdout; interrupted in the end."""
    process: subprocess.Popen[str] = ground.start(
        place, rtt, argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    """The next line that the process prints, and nothing behind it: select() sees no buffers."""
    assert process.stdout is not None
    said = b""
    while not said.endswith(b"\n"):
        if not select.select([process.stdout], [], [], START_SECONDS)[0]:
            raise BenchmarkError(f"{process.args!r} says nothing")
        if not (piece := os.read(process.stdout.fileno(), 1)):
            raise BenchmarkError(f"{process.args!r} has ended with {process.wait()}")
        said += piece
    return said.decode()
