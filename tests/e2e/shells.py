"""Real shells that complete what is typed."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import time
from collections.abc import Iterator

from tests.e2e.laptop import Laptop

_SECONDS = 60.0
_BEGINNING_OF_LINE = "\x01"


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, laptop: Laptop, *argv: str) -> None:
        self._master, slave = pty.openpty()
        self._process = laptop.start(
            argv,
            env=laptop.environment(
                TERM="dumb",
                PATH=f"{laptop.tow.parent}:{os.environ['PATH']}",
                PS1="$ ",
                # Shells leave things at home.
                HOME=str(laptop.inputs),
                HISTFILE="",
            ),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._said = ""

    def type(self, keys: str) -> None:
        """Type on its keyboard."""
        os.write(self._master, keys.encode())

    def line(self, mark: str) -> str:
        """Wait for a line that begins with a mark; gives the rest of it, and forgets all before."""
        deadline = time.monotonic() + _SECONDS
        while True:
            for line in self._said.splitlines(keepends=True):
                if line.startswith(mark) and line.endswith("\n"):
                    self._said = ""
                    return line.removeprefix(mark).strip()
            left = deadline - time.monotonic()
            assert left > 0, f"no line with '{mark}' within {_SECONDS} s: {self._said!r}"
            if select.select([self._master], [], [], left)[0]:
                self._said += os.read(self._master, 65536).decode(errors="replace")

    def completed(self, keys: str) -> str:
        """What a line becomes that is typed, tabs included; it is printed, not run."""
        self.type(f"{keys}{_BEGINNING_OF_LINE}printf '%s ' MARK '='; echo \n")
        return self.line("MARK = ")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@contextlib.contextmanager
def terminal(laptop: Laptop, *argv: str) -> Iterator[Terminal]:
    """A shell, until the end of this."""
    opened = Terminal(laptop, *argv)
    try:
        yield opened
    finally:
        opened.close()


def fish(laptop: Laptop, script: str) -> list[str]:
    """The lines that a fish prints."""
    environment = laptop.environment(
        PATH=f"{laptop.tow.parent}:{os.environ['PATH']}", HOME=str(laptop.inputs)
    )
    done = laptop.run("fish", "--no-config", "-c", script, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()
