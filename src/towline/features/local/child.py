"""The program that a session runs: it starts with it and ends with it."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Coroutine, Sequence
from typing import Any, NoReturn, TypeVar

from towline.errors import TowlineError
from towline.features.first import first
from towline.features.local import supervisor

T = TypeVar("T")

SUPERVISOR = (sys.executable, "-P", "-m", supervisor.__name__)
# A supervisor that does not end is killed, and the program with it.
END_SECONDS = supervisor.TERM_SECONDS + supervisor.KILL_SECONDS + 3.0


def require(command: Sequence[str]) -> None:
    """Raise TowlineError with a shell's exit code, 127, when there is no such program."""
    if command and shutil.which(command[0]) is None:
        error = TowlineError(
            f"There is no program {command[0]} that could be run.", "Nothing was changed."
        )
        error.exit_code = supervisor.NOT_FOUND
        raise error


class Child:
    """A program with the terminal, as an async context manager: inside, it runs, or has ended.

    Without a command there is none, and that never ends.
    Its standard output is this process's, or the descriptor `stdout`. Leaving the context ends it
    and all that it has started, at first with SIGTERM. Its end with that of this process, however
    that ends, is seen to by :mod:`towline.features.local.supervisor`.
    """

    def __init__(self, command: Sequence[str], stdout: int | None = None) -> None:
        """Raises TowlineError as :func:`require` does."""
        require(command)
        self._command = command
        self._stdout = stdout
        self._process: asyncio.subprocess.Process | None = None

    def __bool__(self) -> bool:
        return bool(self._command)

    def __str__(self) -> str:
        return shlex.join(self._command)

    async def __aenter__(self) -> Child:
        if not self._command:
            return self
        theirs, self._tie = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *SUPERVISOR, str(theirs), *self._command, stdout=self._stdout, pass_fds=(theirs,)
            )
        except BaseException:
            os.close(self._tie)
            raise
        finally:
            os.close(theirs)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is None:
            return
        os.close(self._tie)
        try:
            # Not asyncio.timeout: in Python 3.11 it does not work in a task that was cancelled.
            await asyncio.wait_for(self._process.wait(), END_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def ended(self) -> int:
        """Wait for its end; gives its exit code, 128 and more for a signal."""
        if self._process is None:
            await asyncio.Event().wait()
        assert self._process
        code = await self._process.wait()
        return code if code >= 0 else 128 - code  # what sees to it was killed

    async def outlive(self, step: Coroutine[Any, Any, T]) -> T:
        """What a step of starting comes to; it is cancelled when the program ends meanwhile.

        That raises TowlineError, with the program's exit code.
        """
        return await first(step, self._too_soon())

    async def _too_soon(self) -> NoReturn:
        code = await self.ended()
        error = TowlineError(
            f"'{self}' has ended, with exit code {code}, before this session was ready.",
            "The cluster's traffic has stayed where it was.",
        )
        error.exit_code = code or error.exit_code
        raise error
