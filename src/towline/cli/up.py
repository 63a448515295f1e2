"""`tow up`: all that a file says, together."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from towline.cli import intercept
from towline.cli.command import Command
from towline.cli.commands import command_of
from towline.cli.options import output_option
from towline.cli.output import narrator, print_json
from towline.cli.schema import options_of
from towline.cli.upview import Json, Lines, Table, showing
from towline.features.local.child import require
from towline.session import runner
from towline.session.group import Group
from towline.session.member import Member
from towline.settings import plan
from towline.settings.plan import Entry, Form, Forms
from towline.settings.planschema import json_schema

FILE = "towline.yaml"
#: Which commands are sessions.
SESSIONS = ("connect", "exchange", "mesh", "mirror", "preview", "forward", "proxy")
# What is for `tow up` to say.
_NOT_OF_ENTRIES = ("detach", "output")
_TETHERED = (sys.executable, "-P", "-m", "towline.cli.tethered")
# A program of its own may need all that is there, and one of a session the names of the cluster.
_SESSION, _SESSION_WITH_PROGRAM, _PROGRAM = range(3)

EPILOG = """\b
Examples:
  tow up                      what towline.yaml says, until Ctrl-C
  tow up -f dev.yaml          what another file says
  tow up --dry-run            the commands that it comes to; nothing is done
  tow up --schema             the form of the file, as a JSON Schema for editors
"""


@click.command("up", cls=Command, epilog=EPILOG)
@click.option(
    "-f",
    "--file",
    type=click.Path(dir_okay=False),
    default=FILE,
    show_default=True,
    help="The file that says what.",
)
@click.option("--dry-run", is_flag=True, help="Do nothing, only tell what would be done.")
@output_option
@click.option("--schema", is_flag=True, help="Only print the JSON Schema of the file.")
@click.pass_context
def command(ctx: click.Context, file: str, dry_run: bool, output: str, schema: bool) -> int:
    """Bring up all that a file says, together: sessions, and programs to run.

    An entry is a command with its options: connect, exchange, mesh, mirror and so on; 'run' has
    programs. When one of them ends, or Ctrl-C comes, all end, and leave nothing behind.
    """
    if schema:
        click.echo(json.dumps(json_schema(forms()), indent=2, ensure_ascii=False))
        return 0
    with narrator(output):
        entries = plan.load(Path(file), forms())
        if dry_run:
            _tell(entries, output)
            return 0
        os.chdir(Path(file).parent)
        return _run(entries, _global_options(ctx), output)


def _run(entries: Sequence[Entry], options: Sequence[str], output: str) -> int:
    """All of it, to its end; returns the exit code."""
    for entry in entries:
        require(entry.program)
    labels = [entry.label for entry in entries]
    asking = [entry.label for entry in entries if entry.command == "connect"]
    members = [_member(entry, options) for entry in entries]
    with showing(output, labels, asking) as view:
        return runner.run(lambda session: _up(session, Group(members, view), view))


def forms() -> Forms:
    """What entries may say: derived from the commands, so that what is new there is so here."""
    return {name: _form(command_of(name)) for name in SESSIONS}


def _form(command: click.Command) -> Form:
    options = options_of(command)
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    return Form(
        tuple(str(each.name) for each in arguments if each.nargs == 1),
        {name: options[name] for name in options if name not in _NOT_OF_ENTRIES},
        isinstance(command, intercept.Command),
        tuple(str(each.name) for each in arguments if each.nargs != 1),
    )


async def _up(session: runner.Session, group: Group, view: Lines | Json | Table) -> None:
    began = time.monotonic()

    def all_ready() -> None:
        session.live()
        seconds = time.monotonic() - began
        message = f"All is up in {seconds:.1f} s. Ctrl-C ends it."
        view.summary(message, event="ready", seconds=round(seconds, 3))

    label, code = await group.run(all_ready)
    message = f"{label} has ended, with exit code {code}, and so has all else."
    view.summary(message, event="ended", entry=label, code=code)
    session.result(code)


def _member(entry: Entry, options: Sequence[str]) -> Member:
    if not entry.command:
        return Member(entry.label, entry.program, False, _PROGRAM)
    command = [*_TETHERED, str(os.getpid()), *_command_line(entry, *options, output="json")]
    stage = _SESSION_WITH_PROGRAM if entry.program else _SESSION
    return Member(entry.label, command, True, stage)


def _command_line(entry: Entry, *options: str, output: str = "") -> list[str]:
    """What an entry is on the command line, behind `tow`."""
    told = [f"--output={output}"] if output else []
    program = ["--", *entry.program] if entry.program else []
    return [*options, entry.command, *entry.arguments, *told, *program]


def _global_options(ctx: click.Context) -> list[str]:
    """The options of `tow` itself, for each entry."""
    given = ctx.find_root().params
    profile = given.get("profile")
    return [*["-v"] * given.get("verbose", 0), *([f"--profile={profile}"] if profile else [])]


def _tell(entries: Sequence[Entry], output: str) -> None:
    lines: list[dict[str, Any]] = [
        {
            "entry": entry.label,
            "command": ["tow", *_command_line(entry)] if entry.command else [*entry.program],
        }
        for entry in entries
    ]
    if output == "json":
        print_json(lines)
        return
    for line in lines:
        click.echo(shlex.join(line["command"]))
    click.echo("note:  Nothing was done: this was a dry run.", err=True)
