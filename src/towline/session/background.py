"""Puts a session into the background: a process of its own that outlives the terminal.

It is a fork of the process that was called, and on a leash until it is ready: when that process
goes before it has let go, for whatever reason, the session ends by itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from towline.errors import SessionError
from towline.session.runner import STOP_SIGNALS

Event = dict[str, Any]

_GO = b"\n"


class Leash:
    """The background's end: the end of file there without a word means that nobody waits."""

    def __init__(self, tie: socket.socket) -> None:
        self._tie = tie

    def hold(self, stop: Callable[[], None]) -> None:
        """From now on, in the running event loop, call `stop` when the other process is gone."""
        asyncio.get_running_loop().add_reader(self._tie, self._pulled, stop)

    def _pulled(self, stop: Callable[[], None]) -> None:
        asyncio.get_running_loop().remove_reader(self._tie)
        if self._word() == _GO:
            _point_to_nothing(1, 2)
        else:
            stop()
        self._tie.close()

    def _word(self) -> bytes:
        with suppress(OSError):
            return self._tie.recv(len(_GO))
        return b""


def start(
    serve: Callable[[Leash], int],
    *,
    on_event: Callable[[Event], None],
    give: socket.socket | None = None,
) -> int:
    """Run `serve` in a process in the background; returns 0 once it is ready, else its exit code.

    Its standard output is for events, one JSON object a line, which go to `on_event` (it may
    raise) up to `ready`; its standard error is this process's until then. A socket `give`
    is the background's from now on. A signal that ends programs ends it in order.
    """
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _be_child(serve, theirs)
    theirs.close()
    if give is not None:
        give.close()
    return asyncio.run(_Watch(child).until_ready(ours, on_event))


class _Watch:
    """What the process that was called does until the background is ready."""

    def __init__(self, child: int) -> None:
        self._child = child
        self._process = os.pidfd_open(child)
        self._signal: int | None = None

    async def until_ready(self, tie: socket.socket, on_event: Callable[[Event], None]) -> int:
        """Pass on what the session tells; returns when it is ready or has ended."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._pass_on, number)
        reader, writer = await asyncio.open_unix_connection(sock=tie)
        is_free = False
        try:
            async for line in reader:
                event: Event = json.loads(line)
                if event["event"] == "ready":
                    if self._signal is not None:
                        continue
                    writer.write(_GO)
                    is_free = True
                on_event(event)
                if is_free:
                    return 0
        finally:
            writer.close()
            if not is_free:
                await self._ended()
        return self._exit_code()

    async def _ended(self) -> None:
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._process, ended.set)
        await ended.wait()
        asyncio.get_running_loop().remove_reader(self._process)

    def _pass_on(self, number: int) -> None:
        self._signal = number
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process, number)

    def _exit_code(self) -> int:
        _, status = os.waitpid(self._child, 0)
        code = os.waitstatus_to_exitcode(status)
        if self._signal is not None:
            return 128 + self._signal
        if code <= 0:
            how = f"killed by {signal.Signals(-code).name}" if code else "without a word"
            raise SessionError(f"The session in the background ended before it was ready: {how}.")
        return code


def _be_child(serve: Callable[[Leash], int], tie: socket.socket) -> NoReturn:
    """Run it and end: the rest of the program is the other process's."""
    code = 1
    try:
        _leave_terminal(tie)
        code = serve(Leash(tie))
    finally:
        os._exit(code)


def _leave_terminal(output: socket.socket) -> None:
    """Be in a session of its own (setsid(2)), with nothing that belongs to the caller."""
    os.setsid()
    _point_to_nothing(0)
    os.dup2(output.fileno(), 1)
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        # Whatever this program has opened itself is not inheritable.
        with suppress(OSError):
            if number > 2 and os.get_inheritable(number):
                os.close(number)


def _point_to_nothing(*descriptors: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in descriptors:
        os.dup2(nothing, number)
    os.close(nothing)
