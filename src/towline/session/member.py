"""One process of several that come up and end together."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from towline.errors import TowlineError
from towline.features.local.child import SUPERVISOR

Event = dict[str, Any]

# A longer line is shown in parts of this length.
LINE_BYTES = 1 << 20
_READ_BYTES = 1 << 16


class View(Protocol):
    """Shows what members tell, each by its label."""

    def event(self, label: str, event: Event) -> None:
        """An event of a session, as it has told it."""

    def line(self, label: str, text: str) -> None:
        """A line that a program has written."""


@dataclass(frozen=True, slots=True)
class Member:
    """What is to be run. A session tells events, and is `ready` when it says so; other programs
    are when they run. Members come up by `stage`: when all of the stages before are ready.
    """

    label: str
    command: Sequence[str]
    is_session: bool
    stage: int


class Process:
    """A member's process, from :meth:`start` to its end.

    However this process ends, the member does: a session's `command` sees to that itself, another
    program has a supervisor.
    """

    def __init__(self, member: Member, view: View) -> None:
        self.member = member
        self.ready = asyncio.Event()
        self.error: TowlineError | None = None
        self._view = view
        self._process: asyncio.subprocess.Process | None = None
        self._tie: int | None = None

    async def start(self) -> None:
        """Start it. Raises OSError."""
        if self.member.is_session:
            self._process = await self._spawn(self.member.command)
            return
        theirs, self._tie = os.pipe()
        try:
            command = (*SUPERVISOR, str(theirs), *self.member.command)
            self._process = await self._spawn(command, theirs)
        finally:
            os.close(theirs)
        self.ready.set()

    async def ended(self) -> int:
        """Pass on what it tells until it has ended; gives its exit code, below 0 for a signal.

        What it has started, and left behind, may still write: that is not waited for.
        """
        assert self._process
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in (self._read_stdout(), self._read_stderr())]
            code = await self._process.wait()
            await asyncio.wait(tasks, timeout=1.0)
            for task in tasks:
                task.cancel()
        return code

    def ask_to_end(self) -> None:
        """Have it end in order; asked again, nothing more happens."""
        if self._tie is not None:
            os.close(self._tie)
            self._tie = None
        elif self.member.is_session:
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it on the spot."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _spawn(self, command: Sequence[str], *descriptors: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=descriptors,
        )

    async def _read_stdout(self) -> None:
        assert self._process
        assert self._process.stdout
        async for line in _lines(self._process.stdout):
            if self.member.is_session:
                self._on_event(line)
            else:
                self._view.line(self.member.label, line)

    async def _read_stderr(self) -> None:
        assert self._process
        assert self._process.stderr
        async for line in _lines(self._process.stderr):
            self._view.line(self.member.label, line)

    def _on_event(self, line: str) -> None:
        event: Event = json.loads(line)
        if event["event"] == "error":
            if self.error is None:
                self.error = TowlineError(event["summary"], event["hint"])
                self.error.exit_code = event["exit_code"]
            return
        self._view.event(self.member.label, event)
        if event["event"] == "ready":
            self.ready.set()


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    """The lines of a stream, whatever their length; what follows the last one, too."""
    rest = b""
    while data := await reader.read(_READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")
        if len(rest) > LINE_BYTES:
            yield rest.decode("utf-8", "replace")
            rest = b""
    if rest:
        yield rest.decode("utf-8", "replace")
