"""Runs one session in this process: its signals, its orderly end, its exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from towline.errors import leading_error

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Session:
    """What the running session's code is given: to say that it is up, and to be asked to end."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._live = False
        self._asked = False
        self._signal: signal.Signals | None = None
        self._result = 0

    def live(self) -> None:
        """From now on an interrupt is this session's normal end."""
        self._live = True

    def result(self, code: int) -> None:
        """Have this exit code at the end, unless a signal decides."""
        self._result = code

    def stop(self) -> None:
        """End the session in order; asked a second time, nothing more happens."""
        if not self._asked and self._task is not None:
            self._asked = True
            self._task.cancel()

    @property
    def exit_code(self) -> int:
        """0 for a wanted end; 128 plus the signal's number for one that was cut short.

        One that has ended by itself may have a result.
        """
        if self._signal is None:
            return self._result
        if self._live and self._signal == signal.SIGINT:
            return 0
        return 128 + self._signal

    async def run(self, main: Callable[[Session], Awaitable[None]]) -> int:
        """Run `main` until it returns or a signal ends it; returns the exit code.

        The first signal cancels `main`, which cleans up in bounded time. A second interrupt
        ends the process on the spot: whatever is left by then goes with it.
        """
        loop = asyncio.get_running_loop()
        loop.set_default_executor(_DaemonThreads())
        loop.set_exception_handler(_log)
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        self._task = asyncio.ensure_future(main(self))
        try:
            await self._task
        except asyncio.CancelledError:
            if not self._asked:
                raise
        finally:
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)
        return self.exit_code

    def _on_signal(self, number: signal.Signals) -> None:
        if self._signal is None:
            self._signal = number
        elif number == signal.SIGINT:
            os._exit(128 + number)
        self.stop()


class _DaemonThreads(ThreadPoolExecutor):
    """Runs each call in a thread of its own, which nothing waits for at the end.

    A lookup of the C library cannot be interrupted, and takes tens of seconds when no nameserver
    answers; the process is to end at once all the same.
    """

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start the call."""
        future: Future[T] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 (it is whoever waits who gets it)
                    future.set_exception(error)

        threading.Thread(target=call, daemon=True).start()
        return future


def _log(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What went wrong where nobody waits for it is for those who asked for a log.

    By itself asyncio shows tracebacks, also for what passes, such as a want of descriptors.
    """
    log.info("%s", context["message"], exc_info=context.get("exception"))


def _raise_descriptor_limit() -> None:
    """Every connection takes a descriptor; the soft limit is often 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(main: Callable[[Session], Awaitable[None]]) -> int:
    """Run `main` in an event loop of its own, as :meth:`Session.run` does.

    Of an exception group, the first TowlineError is raised.
    """
    _raise_descriptor_limit()
    try:
        return asyncio.run(Session().run(main))
    except BaseExceptionGroup as group:
        error = leading_error(group)
        if error is None:
            raise
        raise error from group
