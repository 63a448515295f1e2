"""Running `tow` and watching what it says: to its end, or as a session under way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from tests.e2e.laptop import Laptop
from tests.e2e.trace import processes
from tests.e2e.waiting import until

T = TypeVar("T")
Event = dict[str, Any]

# Far more than either takes, even on a busy machine.
READY_SECONDS = 60.0
END_SECONDS = 30.0

# How long the agents of the tests wait for a session that is gone.
GRACE_SECONDS = 2
GRACE = f"--grace={GRACE_SECONDS}"

HELPER = "towline.redirect.helper"


class Session:
    """A `tow connect --output json` under way, and the events that it has told."""

    def __init__(self, laptop: Laptop, process: subprocess.Popen[str]) -> None:
        self.laptop = laptop
        self.process = process
        self.pid = process.pid
        self.events: list[Event] = []
        self.complaints: list[str] = []
        self._said = threading.Condition()
        self._ended = False
        self._readers = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_complaints, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def ready(self, seconds: float = READY_SECONDS) -> Event:
        """Wait until it is ready."""
        return self.event("ready", seconds=seconds)

    def event(self, name: str, *, after: int = 0, seconds: float = READY_SECONDS) -> Event:
        """Wait for an event of that name, looking past the first `after` events of any name."""

        def look() -> Event | None:
            return next((e for e in self.events[after:] if e["event"] == name), None)

        return self._wait(look, seconds, f"the event '{name}'")

    def is_ready_or_ended(self, seconds: float = READY_SECONDS) -> bool:
        """Wait until it is ready or says no more; gives whether it has been ready."""

        def is_ready() -> bool:
            return any(e["event"] == "ready" for e in self.events)

        with self._said:
            said = self._said.wait_for(lambda: is_ready() or self._ended, seconds)
            assert said, f"not within {seconds} s: ready; it said {self.events} {self.stderr}"
            return is_ready()

    def step(self, number: int) -> str:
        """Wait for the progress event of that number, from 1 on; "" when it is ready before."""

        def look() -> Event | None:
            steps = [e for e in self.events if e["event"] == "progress"]
            ready = [e for e in self.events if e["event"] == "ready"]
            return next(iter([*steps[number - 1 : number], *ready]), None)

        found = self._wait(look, READY_SECONDS, f"step {number} of starting")
        return "" if found["event"] == "ready" else str(found["message"])

    def told(self, words: str, seconds: float = READY_SECONDS) -> str:
        """Wait until its progress has these words in it; gives what it said."""

        def look() -> str | None:
            told = (e["message"] for e in self.events if e["event"] == "progress")
            return next((message for message in told if words in message), None)

        return self._wait(look, seconds, f"progress with '{words}'")

    def interrupt(self) -> None:
        """Do as the terminal does on Ctrl-C: every process of its foreground group gets it."""
        os.killpg(self.pid, signal.SIGINT)

    def kill_helper(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the helpers that there are."""
        for pid in self.helpers():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def helpers(self) -> list[int]:
        """The process ids of the helpers that there are on the laptop."""
        return processes.pids(self.laptop.belonging, HELPER)

    def end(self, seconds: float = END_SECONDS) -> int:
        """Wait for its end; gives its exit code. It has shown no traceback."""
        code = self.process.wait(seconds)
        self.drain()
        self.assert_no_traceback()
        return code

    def error(self, seconds: float = END_SECONDS) -> Event:
        """Wait for the end, with an error; gives its event."""
        code = self.end(seconds)
        told = [e for e in self.events if e["event"] == "error"]
        assert told, f"it ended with {code} and no word of why: {self.events} {self.stderr}"
        assert code == told[0]["exit_code"] != 0
        return told[0]

    def drain(self) -> None:
        """Take in what it said last, once it has ended."""
        for reader in self._readers:
            reader.join(END_SECONDS)

    def close(self) -> None:
        """Kill it if it is still there, and let go of its pipes."""
        self.process.kill()
        self.process.wait()
        self.drain()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()

    @property
    def stderr(self) -> str:
        """What it has written there so far."""
        return "".join(self.complaints)

    def assert_no_traceback(self) -> None:
        """It has not shown what only its makers understand."""
        assert "Traceback" not in self.stderr, self.stderr
        assert "Internal error" not in self.stderr, self.stderr

    def _wait(self, look: Callable[[], T | None], seconds: float, what: str) -> T:
        deadline = time.monotonic() + seconds
        with self._said:
            while (found := look()) is None:
                left = deadline - time.monotonic()
                about = f"{what}; it said {self.events} {self.stderr}"
                assert not self._ended, f"it ended before {about}"
                assert left > 0, f"not within {seconds} s: {about}"
                self._said.wait(left)
        return found

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        with suppress(ValueError):
            for line in self.process.stdout:
                with self._said:
                    self.events.append(json.loads(line))
                    self._said.notify_all()
        with self._said:
            self._ended = True
            self._said.notify_all()

    def _read_complaints(self) -> None:
        assert self.process.stderr is not None
        with suppress(ValueError):
            self.complaints += self.process.stderr


@contextmanager
def starting(
    laptop: Laptop,
    *arguments: str | Path,
    command: str = "connect",
    stdin: int = subprocess.DEVNULL,
    **environment: str,
) -> Iterator[Session]:
    """A session that has just been started; whatever becomes of it, it does not outlive this."""
    process = laptop.start(
        [laptop.tow, command, "--output", "json", GRACE, *arguments],
        env=laptop.environment(**environment),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    session = Session(laptop, process)
    try:
        yield session
    finally:
        session.close()


@contextmanager
def connected(
    laptop: Laptop,
    *arguments: str | Path,
    command: str = "connect",
    stdin: int = subprocess.DEVNULL,
    **environment: str,
) -> Iterator[Session]:
    """A session that is ready, and ends as Ctrl-C ends it, in order and without complaint."""
    with starting(laptop, *arguments, command=command, stdin=stdin, **environment) as session:
        session.ready()
        yield session
        if session.process.poll() is None:
            session.interrupt()
        assert session.end() == 0, session.stderr
        assert session.stderr == "", session.stderr


def is_running_tow(session: Session) -> bool:
    """Whether the process is the program under test already, and not what starts it."""
    command = Path(f"/proc/{session.pid}/cmdline").read_bytes().split(b"\0")
    return os.fsencode(session.laptop.tow) in command[:2]


def await_program(session: Session) -> None:
    """Wait until the program under test runs."""
    until(lambda: is_running_tow(session), 10, "tow to be running")
