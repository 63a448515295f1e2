"""One session of a way into the cluster: in the foreground, or in the background by `--detach`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import click

from towline.cli.options import Decorator
from towline.cli.output import narrator, told
from towline.errors import TowlineError
from towline.features.state import Narrator
from towline.features.uplink.way import Way
from towline.session import background, control, runner

ReadyLine = Callable[[dict[str, Any], str], str]
"""What the user is told when it is ready: by its status, and what ends it."""


def detach_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Whether to go to the background."""
    option: Decorator = click.option(
        "-d", "--detach", is_flag=True, help="Go to the background when it is ready."
    )
    return option(function)


def run(way: Way, tell: Narrator, ready_line: ReadyLine) -> int:
    """A session in the foreground, to its end; returns its exit code."""
    return runner.run(lambda session: _serve(way, tell, session, ready_line, "Ctrl-C ends it."))


def run_in_background(
    make: Callable[[Narrator], Way],
    tell: Narrator,
    ready_line: ReadyLine,
    give: socket.socket | None = None,
) -> int:
    """Start a session in the background, and tell what it tells until it is ready.

    `make` is called there; the socket `give` is for that. Returns the exit code.
    """

    def relay(event: background.Event) -> None:
        if event["event"] == "progress":
            tell.progress(event["message"])
        elif event["event"] == "error":
            error = TowlineError(event["summary"], event["hint"])
            error.exit_code = event["exit_code"]
            raise error
        else:
            data = {key: event[key] for key in event if key not in ("event", "message")}
            tell.event(event["event"], event["message"], **data)

    return background.start(
        lambda leash: _be_background(make, ready_line, leash), give=give, on_event=relay
    )


def _be_background(
    make: Callable[[Narrator], Way], ready_line: ReadyLine, leash: background.Leash
) -> int:
    """The session in the background, which tells all, errors too, as events."""

    async def serve(session: runner.Session) -> None:
        leash.hold(session.stop)
        await _serve(way, tell, session, ready_line, "'tow disconnect' ends it.")

    try:
        with narrator("json") as tell:
            way = make(tell)
            try:
                return runner.run(serve)
            except Exception as error:
                raise told(error) from error
    except TowlineError as error:
        return error.exit_code


async def _serve(
    way: Way, tell: Narrator, session: runner.Session, ready_line: ReadyLine, end: str
) -> None:
    """One session from its start to its end, about which `end` tells the user."""
    async with control.listen(way.status, session.stop, way.answers()), way.open():
        session.live()
        status = way.status()
        tell.event("ready", ready_line(status, end), **status)
        await way.ended()
