"""How the command line speaks: data on stdout, everything else on stderr, JSON when asked."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from towline.errors import TowlineError

if TYPE_CHECKING:
    from towline.kube.access import Right

# EX_SOFTWARE of sysexits.h.
INTERNAL_ERROR = 70
# A step that ends sooner than this needs no line of its own where there is no terminal.
QUIET_SECONDS = 1.0
# All control characters but tab and newline.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Text that cannot drive a terminal: some of it others have written in the cluster."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def show_error(error: TowlineError) -> None:
    """Print an error and its hint on stderr."""
    click.secho("error: ", nl=False, err=True, fg="red", bold=True, color=coloured(sys.stderr))
    click.echo(plain(error.summary), err=True)
    if error.hint:
        click.echo(f"hint:  {plain(error.hint)}", err=True)


def told(error: Exception) -> TowlineError:
    """An error as the user is told of it: as itself, or as a mistake of ours.

    The traceback of such a one is there for whoever asked for a log.
    """
    if isinstance(error, TowlineError):
        return error
    logging.getLogger(__name__).info("internal error", exc_info=error)
    inner: BaseException = error
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    mistake = TowlineError(
        f"Internal error: {type(inner).__name__}: {inner}",
        "This is a mistake in towline. Please report it with what 'tow -v …' logs.",
    )
    mistake.exit_code = INTERNAL_ERROR
    return mistake


def print_json(data: Any) -> None:
    """Print one JSON document on one line of stdout, at once."""
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(data) + "\n")
        sys.stdout.flush()


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows in columns under their heads."""
    lines = [head, *([plain(each) or "-" for each in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[cell.ljust(n) for cell, n in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def write_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns under their heads."""
    click.echo(table(head, rows))


def tell_missing(rights: Iterable[Right]) -> None:
    """Say on stderr of what is shown what is left out, for want of rights."""
    for right in rights:
        click.echo(missing(right), err=True)


def missing(right: Right) -> str:
    """What to say of a right whose want has left something out."""
    return f"note:  You may not {right}: what there is of them is left out."


@contextlib.contextmanager
def progressing(output: str) -> Iterator[Callable[[str], None]]:
    """Show on stderr what is waited for, for `--output text`, until this ends."""
    text = TextNarrator()
    try:
        yield text.progress if output == "text" else lambda _: None
    finally:
        text.close()


def ways(exposed: Iterable[Mapping[str, Any]], prefix: str = "") -> str:
    """Which ports lead where, as a session's status has them."""
    suffix = {"TCP": "", "UDP": "/udp"}
    return ", ".join(
        f"{prefix}{each['remote']}{suffix[each['protocol']]} → {each['local']}" for each in exposed
    )


def forwards(forwarded: Iterable[Mapping[str, Any]]) -> str:
    """Which local ports lead where, as a session's status has them."""
    suffix = {"TCP": "", "UDP": "/udp"}
    return ", ".join(
        f"{each['local']} → {each['remote']}{suffix[each['protocol']]}" for each in forwarded
    )


class JsonNarrator:
    """One JSON object a line on stdout: `{"event": …, "message": …, …}`."""

    def progress(self, message: str) -> None:
        """As an event of its own."""
        print_json({"event": "progress", "message": message})

    def event(self, name: str, message: str, **data: Any) -> None:
        """As an event."""
        print_json({"event": name, "message": message, **data})


class TextNarrator:
    """Events as lines on stdout; progress on stderr, as one living line on a terminal.

    With `aside`, stdout and the terminal are another program's: all are lines on stderr, marked.
    """

    def __init__(self, *, aside: bool = False) -> None:
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not aside
        self._out = sys.stderr if aside else sys.stdout
        self._mark = "tow: " if aside else ""
        self._status: Any = None
        self._last = time.monotonic()

    def progress(self, message: str) -> None:
        """Show what is waited for; without a terminal only what takes long."""
        if self._terminal:
            self._live(message)
        elif time.monotonic() - self._last >= QUIET_SECONDS:
            self._write(sys.stderr, message)
        self._last = time.monotonic()

    def event(self, name: str, message: str, **data: Any) -> None:
        """Print the message, a note on stderr; the data is for machines."""
        self.close()
        self._last = time.monotonic()
        if name == "note":
            self._write(sys.stderr, f"note:  {message}")
        else:
            self._write(self._out, message)

    def close(self) -> None:
        """Take the living line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _live(self, message: str) -> None:
        from rich.console import Console  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        # As text, since what is in brackets would be taken for markup.
        text = Text(plain(message))
        if self._status is None:
            self._status = Console(stderr=True).status(text)
            self._status.start()
        self._status.update(text)

    def _write(self, stream: Any, message: str) -> None:
        # The terminal may have been closed: a session then ends in order all the same.
        with contextlib.suppress(OSError):
            lines = plain(message).split("\n")
            click.echo("\n".join(self._mark + line for line in lines), file=stream)


@contextlib.contextmanager
def narrator(output: str, *, aside: bool = False) -> Iterator[JsonNarrator | TextNarrator]:
    """The narrator for `--output`, whose living line is gone afterwards; text `aside` if need be.

    An error is told to machines as an event, too.
    """
    if output == "json":
        try:
            yield JsonNarrator()
        except TowlineError as error:
            print_json(event_of(error))
            raise
        return
    text = TextNarrator(aside=aside)
    try:
        yield text
    finally:
        text.close()


def event_of(error: TowlineError) -> dict[str, Any]:
    """An error as machines are told of it."""
    return {
        "event": "error",
        "message": error.summary,
        "summary": error.summary,
        "hint": error.hint,
        "exit_code": error.exit_code,
    }


def coloured(stream: Any) -> bool:
    """Whether colours are wanted on a stream (https://no-color.org)."""
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR")
