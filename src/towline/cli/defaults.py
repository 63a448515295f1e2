"""Gives a command what settings say of its options, unless a flag says otherwise."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from towline.cli.schema import UNSETTABLE, name_of, options_of, schema, settable
from towline.settings import distribution, places
from towline.settings.load import Settings, load
from towline.settings.schema import Schema


def prepare(command: click.Command) -> None:
    """Give each switch its opposite, `--no-…`, for those that a setting has turned on."""
    if command.name in UNSETTABLE:
        return
    for option in settable(command):
        if option.is_flag and option.is_bool_flag and not option.secondary_opts:
            option.secondary_opts.append(f"--no-{name_of(option)}")


def give(context: click.Context, command: click.Command, arguments: Sequence[str]) -> None:
    """Make settings the defaults of a command that is about to run below `context`.

    They stay there as `obj`. Raises SettingsError if a file is broken, unless it is only to
    explain itself.
    """
    name = command.name or ""
    options = options_of(command)
    if name in UNSETTABLE or not options:
        return
    settings = load_all(context, name)
    if not _is_question(context, arguments):
        settings.raise_problems()
    context.obj = settings
    values = settings.of(Schema({name: options}), name)
    context.default_map = {
        name: {
            str(each.name): values[name_of(each)].value
            for each in settable(command)
            if values[name_of(each)].value != options[name_of(each)].default
        }
    }


def load_all(context: click.Context, running: str = "") -> Settings:
    """All settings, with the environment's for the command that is running, or for all."""
    everything = schema(running)
    return load(
        places.find(),
        everything,
        environ=os.environ,
        running=Schema({running: everything.commands[running]}) if running else everything,
        points=distribution.installed(),
        profile=context.find_root().params.get("profile"),
    )


def _is_question(context: click.Context, arguments: Sequence[str]) -> bool:
    """Whether the command is only asked for its help, or for what may be written there."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return context.resilient_parsing or any(each in own for each in context.help_option_names)
