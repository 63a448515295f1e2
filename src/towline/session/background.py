"""Puts a session into the background: a process of its own that outlives the terminal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from towline.errors import SessionError

Event = dict[str, Any]


def start(
    arguments: Sequence[str], *, keep: Sequence[int], on_event: Callable[[Event], None]
) -> int:
    """Run `tow ARGUMENTS` in the background and return its exit code, 0 once it is ready.

    `arguments` must ask for JSON output: each event up to `ready` goes to `on_event`, which may
    raise. The descriptors in `keep` stay open in the child under their own numbers. An
    interrupt here ends the child in order.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    child = subprocess.Popen(
        [sys.executable, "-m", "towline", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=keep,
        start_new_session=True,
        text=True,
    )
    assert child.stdout is not None
    try:
        for line in child.stdout:
            event: Event = json.loads(line)
            on_event(event)
            if event["event"] == "ready":
                return 0
        return child.wait() or _unexpected(child)
    except BaseException as error:
        child.send_signal(signal.SIGINT)
        code = child.wait()
        if isinstance(error, KeyboardInterrupt):
            return code
        raise


def _unexpected(child: subprocess.Popen[str]) -> int:
    assert child.stderr is not None
    last = child.stderr.read().strip().splitlines()[-1:] or ["it said nothing"]
    raise SessionError(f"The session in the background ended before it was ready: {last[0]}")
