"""Running a long command with its progress in view, and without trusting that it will end."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from lab.errors import LabError

_LAST_WORDS = 20


def run(
    argv: list[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    on_lines: Callable[[int], None],
    stall_seconds: float | None = None,
) -> str:
    """Run a command and return its output. `on_lines` gets the number of lines that it has
    written to standard error so far.

    Raises TimeoutError when it writes none for `stall_seconds`, LabError when it fails.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        try:
            said = _listen(process.stderr, on_lines, stall_seconds)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.wait() != 0:
            tail = "\n".join(said.splitlines()[-_LAST_WORDS:])
            raise LabError(f"'{' '.join(argv[:2])}' failed in {folder}:\n{tail}")
        output.seek(0)
        return output.read().decode()


def _listen(stream: IO[bytes], on_lines: Callable[[int], None], stall_seconds: float | None) -> str:
    said = b""
    with stream:
        while True:
            if not select.select([stream], [], [], stall_seconds)[0]:
                raise TimeoutError(f"Nothing has come for {stall_seconds:.0f} s.")
            piece = os.read(stream.fileno(), 65536)
            if not piece:
                return said.decode(errors="replace")
            said += piece
            on_lines(said.count(b"\n"))
