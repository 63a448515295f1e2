"""What `tow up` shows of all that it has brought up: one view."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import click

from towline.cli.output import QUIET_SECONDS, plain, print_json
from towline.session.member import Event

# Each session says that it ends so, but it is all together that does.
_END = " Ctrl-C ends it."


class Lines:
    """A line for each thing that is told, with the label of who tells it."""

    def __init__(self, labels: Collection[str]) -> None:
        self._width = max(map(len, labels), default=0)
        self._last = dict.fromkeys(labels, time.monotonic())

    def event(self, label: str, event: Event) -> None:
        """What a session tells; progress only if it takes long."""
        message = _message(event)
        if event["event"] == "progress":
            if time.monotonic() - self._last[label] >= QUIET_SECONDS:
                self._write(sys.stderr, label, message)
            self._last[label] = time.monotonic()
        elif event["event"] == "note":
            self._write(sys.stderr, label, f"note:  {message}")
        else:
            self._write(sys.stdout, label, message)

    def line(self, label: str, text: str) -> None:
        """What a program says."""
        self._write(sys.stdout, label, text)

    def summary(self, message: str, **data: Any) -> None:
        """What is to be said of all together."""
        del data
        _echo(sys.stdout, message)

    def _write(self, stream: Any, label: str, text: str) -> None:
        for line in plain(text).split("\n"):
            _echo(stream, f"{label.ljust(self._width)} | {line}")


class Json:
    """One JSON object a line: what each session tells, with its `entry`."""

    def event(self, label: str, event: Event) -> None:
        """As the session has told it."""
        print_json({**event, "entry": label})

    def line(self, label: str, text: str) -> None:
        """What a program says."""
        print_json({"event": "output", "entry": label, "line": text})

    def summary(self, message: str, **data: Any) -> None:
        """An event of no entry."""
        print_json({"message": message, **data})


class Table:
    """On a terminal: how each is doing, in lines that stay at the bottom; above, what they say.

    Before those in `asking` are ready, there are only lines: sudo may ask for a password meanwhile.
    """

    def __init__(self, labels: Sequence[str], asking: Collection[str]) -> None:
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415

        self._lines = Lines(labels)
        self._how = dict.fromkeys(labels, ("starting", ""))
        self._asking = set(asking)
        self._live = Live(
            console=Console(highlight=False),
            auto_refresh=False,
            transient=True,
            get_renderable=self._table,
        )

    def event(self, label: str, event: Event) -> None:
        """What a session tells, at its line of the table; above it, what is not only for now."""
        name = str(event["event"])
        message, _, more = _message(event).partition("\n")
        if name == "ready":
            self._asking.discard(label)
        if name in ("progress", "ready", "reconnecting", "reconnected"):
            state = {"progress": "starting", "reconnected": "ready"}.get(name, name)
            known = self._how[label][1] if name == "reconnected" else plain(message)
            self._how[label] = (state, known)
        if name not in ("progress", "ready"):
            self._lines.event(label, event)
        elif more:
            self._lines.line(label, more)
        self._draw()

    def line(self, label: str, text: str) -> None:
        """What a program says."""
        self._lines.line(label, text)

    def summary(self, message: str, **data: Any) -> None:
        """What is to be said of all together. What has not told that it is ready just runs."""
        for label, (state, _) in self._how.items():
            if state == "starting":
                self._how[label] = ("running", "")
        self._lines.summary(message, **data)
        self._draw()

    def close(self) -> None:
        """Take the table away."""
        self._live.stop()

    def _draw(self) -> None:
        if self._asking:
            return
        if self._live.is_started:
            self._live.refresh()
        else:
            self._live.start(refresh=True)
            # A second Ctrl-C ends this on the spot, when nobody could show it again.
            self._live.console.show_cursor(True)

    def _table(self) -> Any:
        from rich.table import Table as RichTable  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = RichTable.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for label, (state, what) in self._how.items():
            colour = {"ready": "green", "running": "green"}.get(state, "yellow")
            # As text, since what is in brackets would be taken for markup.
            table.add_row(Text(label), Text(state, style=colour), Text(what))
        return table


@contextlib.contextmanager
def showing(
    output: str, labels: Sequence[str], asking: Collection[str]
) -> Iterator[Lines | Json | Table]:
    """The view for `--output`, whose table is gone afterwards."""
    if output == "json":
        yield Json()
    elif sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        table = Table(labels, asking)
        try:
            yield table
        finally:
            table.close()
    else:
        yield Lines(labels)


def _message(event: Event) -> str:
    return str(event["message"]).replace(_END, "")


def _echo(stream: Any, text: str) -> None:
    # The terminal may have been closed: all ends in order all the same.
    with contextlib.suppress(OSError):
        click.echo(text, file=stream)
