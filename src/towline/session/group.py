"""Several sessions and programs, as processes of their own, that come up and end together."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from towline.errors import TowlineError
from towline.features.first import first
from towline.session.member import Member, Process, View

# A session that ends in order takes less; what one has left then ends by itself.
END_SECONDS = 20.0
KILL_SECONDS = 2.0


class Group:
    """Members that come up in their stages, and all end when one does."""

    def __init__(self, members: Sequence[Member], view: View) -> None:
        self._processes = [Process(member, view) for member in members]
        self._tasks: dict[Process, asyncio.Task[int]] = {}
        self._one_has_ended = asyncio.Event()
        self._first: Process | None = None

    async def run(self, all_ready: Callable[[], None]) -> tuple[str, int]:
        """Run them until one ends: gives its label and exit code, when all have ended.

        `all_ready` is called when they are. Raises TowlineError, with its exit code, when it has
        ended with an error.
        """
        async with asyncio.TaskGroup() as group:
            try:
                await first(self._bring_up(group, all_ready), self._one_has_ended.wait())
            finally:
                await self._end_all()
        assert self._first
        return self._first.member.label, _outcome(self._first, self._tasks[self._first].result())

    async def _bring_up(self, group: asyncio.TaskGroup, all_ready: Callable[[], None]) -> NoReturn:
        by_stage = sorted(self._processes, key=_stage)
        for _, stage in itertools.groupby(by_stage, key=_stage):
            processes = list(stage)
            for process in processes:
                await process.start()
                self._tasks[process] = group.create_task(self._until_ended(process))
            for process in processes:
                await process.ready.wait()
        all_ready()
        await asyncio.Event().wait()
        raise AssertionError("nothing sets it")

    async def _until_ended(self, process: Process) -> int:
        code = await process.ended()
        if self._first is None:
            self._first = process
            self._one_has_ended.set()
        return code

    async def _end_all(self) -> None:
        """End what runs: at first in order, then for certain. It takes a bounded time."""
        for process in self._processes:
            process.ask_to_end()
        await _settled(self._tasks.values(), END_SECONDS)
        for process, task in self._tasks.items():
            if not task.done():
                process.kill()
        await _settled(self._tasks.values(), KILL_SECONDS)


def _stage(process: Process) -> int:
    return process.member.stage


async def _settled(tasks: Iterable[asyncio.Task[int]], seconds: float) -> None:
    # Not asyncio.timeout: in Python 3.11 it does not work in a task that was cancelled.
    if waited := [task for task in tasks if not task.done()]:
        await asyncio.wait(waited, timeout=seconds)


def _outcome(process: Process, code: int) -> int:
    """The exit code of a process as a shell has it. Raises TowlineError for an error."""
    label = process.member.label
    code = code if code >= 0 else 128 - code
    if process.error is not None:
        error = TowlineError(f"{label}: {process.error.summary}", process.error.hint)
    elif process.member.is_session and code == 128 + signal.SIGKILL:
        error = TowlineError(f"{label} was killed.", "What it has left ends after its grace time.")
    else:
        return code
    error.exit_code = process.error.exit_code if process.error else code
    raise error
