"""A text that is shown again when it changes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterator

import click


@contextlib.contextmanager
def redrawing(*, in_place: bool) -> Iterator[Callable[[str], None]]:
    """What shows a text on stdout: after the one before, or `in_place` of it on a terminal.

    Of what is too long or too wide for the terminal the rest is left out then. The context ends
    in silence when nobody reads it any more.
    """
    try:
        if in_place and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            with _on_terminal() as show:
                yield show
        else:
            yield _one_by_one(apart=in_place)
    except BrokenPipeError:
        # What is still in the buffer goes nowhere, without an error at the end.
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)


async def nobody_reads() -> None:
    """Wait until stdout is a pipe that nobody reads any more."""
    gone = asyncio.Event()
    if stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
        # Of the end that is written to, one hears just that (poll(2), POLLERR).
        asyncio.get_running_loop().add_reader(sys.stdout.fileno(), gone.set)
    try:
        await gone.wait()
    finally:
        asyncio.get_running_loop().remove_reader(sys.stdout.fileno())


def _one_by_one(*, apart: bool) -> Callable[[str], None]:
    """With an empty line between them, if they are to be `apart`."""
    gaps = iter([""])

    def show(text: str) -> None:
        gap = next(gaps, "\n" if apart else "")
        click.echo(f"{gap}{text}")

    return show


@contextlib.contextmanager
def _on_terminal() -> Iterator[Callable[[str], None]]:
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    with Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live:
        yield lambda text: live.update(
            # As text, since what is in brackets would be taken for markup.
            Text(text, no_wrap=True, overflow="ellipsis"),
            refresh=True,
        )
