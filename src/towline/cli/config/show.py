"""`tow config show` and `tow config get`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

import click

from towline.cli.command import Command
from towline.cli.config.common import everything, key_argument, load, tell_problems
from towline.cli.options import output_option
from towline.cli.output import plain, print_json, write_table
from towline.errors import UsageError
from towline.settings import environment, places
from towline.settings.check import unknown
from towline.settings.editing import put, render
from towline.settings.layers import Key, Value, text_of
from towline.settings.load import Settings
from towline.settings.own import OWN
from towline.settings.report import Line, report

SHOW = """\b
Examples:
  tow config show                 what is set and counts, as a file of settings has it
  tow config show --origin        and where each value comes from
  tow config show --all --origin  with all that could be set, and its default
"""
GET = """\b
Examples:
  tow config get namespace        what is set for all commands
  tow config get exchange.grace   what tow exchange does without --grace
"""


@click.command("show", cls=Command, epilog=SHOW)
@click.option("--origin", is_flag=True, help="Say of each value where it is written.")
@click.option("--all", "full", is_flag=True, help="Also what nobody has set, with its default.")
@output_option
def show(origin: bool, full: bool, output: str) -> int:
    """Show what is set, and what is wrong with it.

    The exit code is 2 if a file or variable is broken; the rest is shown all the same.
    """
    settings = load()
    lines = report(settings, everything(), everything=full)
    if output == "json":
        print_json([_as_json(line) for line in lines])
    elif not lines:
        click.echo(f"Nothing is set. Your settings would be in {places.find().user}.")
    elif origin:
        rows = [(text_of(each.key), _written(each.value), str(each.origin)) for each in lines]
        write_table(("KEY", "VALUE", "ORIGIN"), rows)
    else:
        click.echo(plain(_as_file(lines)), nl=False)
    for stranger in environment.strangers(everything(), os.environ):
        click.echo(f"note:  {stranger}", err=True)
    sys.stdout.flush()
    return tell_problems(settings)


@click.command("get", cls=Command, epilog=GET, short_help="Print one value.")
@key_argument
def get(key: Key) -> int:
    """Print what KEY is: set, or built in. Several values are a line each.

    The exit code is 1 if it is nothing, and 2 if a file or variable is broken.
    """
    settings = load()
    value = _value(settings, key).value
    for each in value if isinstance(value, tuple | list) else (value,):
        if each is not None:
            click.echo(plain(each if isinstance(each, str) else render(each)))
    return tell_problems(settings) or int(value is None)


def _value(settings: Settings, key: Key) -> Value:
    """What counts under a key. Raises UsageError when there is no such key."""
    command, name = key
    schema = everything()
    if not command and name in OWN:
        return settings.value("", OWN[name])
    options = dict(schema.having(name))
    if command in options or (options and not command):
        option = options[command] if command else next(iter(options.values()))
        return settings.value(command, option)
    raise UsageError(*unknown(schema, command, name))


def _as_file(lines: Iterable[Line]) -> str:
    """As a file of settings that says all of it."""
    text = ""
    for line in lines:
        text = put(text, line.key, line.value, "").text
    return text


def _written(value: Any) -> str:
    return "" if value is None else render(value)


def _as_json(line: Line) -> dict[str, Any]:
    where = {"layer": line.origin.layer.value, "where": line.origin.where, "line": line.origin.line}
    return {"key": text_of(line.key), "value": line.value, "origin": where}
