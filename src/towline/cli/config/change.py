"""`tow config set`, `unset` and `edit`: changes, which are checked before they are written."""

from __future__ import annotations

import sys

import click

from towline.cli import offers
from towline.cli.command import Command
from towline.cli.config.common import (
    Target,
    everything,
    existing_profile,
    key_argument,
    load,
    target,
    target_options,
    working_directory,
)
from towline.cli.output import show_error
from towline.errors import UsageError
from towline.settings import store
from towline.settings.check import unknown
from towline.settings.document import Leaf, Section
from towline.settings.editing import Edited
from towline.settings.editing import put as put_into
from towline.settings.editing import remove as remove_from
from towline.settings.layers import Key, Layer, text_of, usable
from towline.settings.own import OWN
from towline.settings.problem import Problem, SettingsError
from towline.settings.schema import Option

SET = """\b
Examples:
  tow config set namespace shop                   for every command that has --namespace
  tow config set exchange.expose 8080:80 9090     several values
  tow config set exchange.strict true             a switch; tow exchange --no-strict turns it off
  tow config set --profile work context prod-eu   in a profile
"""
UNSET = """\b
Examples:
  tow config unset namespace
  tow config unset --team exchange.mode
"""
EDIT = """\b
Examples:
  tow config edit           your settings, in $VISUAL or $EDITOR
  tow config edit --team    those of this work tree
"""
_HEAD = """\
# Settings of tow: an option's name and what it is when nobody gives it, such as
#   namespace: shop
# and those of one command below its name:
#   exchange:
#     mode: scale
# 'tow config show --all' has all that can be set.
"""


@click.command("set", cls=Command, epilog=SET, short_help="Set a value.")
@key_argument
@click.argument("values", metavar="VALUE...", nargs=-1, required=True, shell_complete=offers.values)
@target_options
def put(key: Key, values: tuple[str, ...], team: bool, profile: str | None) -> None:
    """Set KEY to VALUE, in your own settings or where the options say.

    The name and the value are checked first. Comments in the file stay.
    """
    goal = target(team=team, profile=profile)
    option = _option(goal, key, values)
    # Not from the file of settings on.
    texts = option.anchored(values, working_directory()) if option.is_path else values
    try:
        edited = put_into(goal.text(), key, usable(option, texts), str(goal.path))
    except SettingsError as error:
        raise UsageError(error.summary, "'tow config edit' opens it for you.") from None
    _write(goal, edited)
    click.echo(f"{text_of(key)} is set in {goal.path}.")
    _tell_what_counts(goal, key)


@click.command("unset", cls=Command, epilog=UNSET, short_help="Remove a value.")
@key_argument
@target_options
def remove(key: Key, team: bool, profile: str | None) -> None:
    """Remove KEY from your own settings, or where the options say. It may be no valid name."""
    goal = target(team=team, profile=profile)
    before = goal.text()
    edited = remove_from(before, key, str(goal.path))
    if edited.text == before:
        raise UsageError(
            f"{text_of(key)} is not set in {goal.path}.", "'tow config show --origin' says where."
        )
    _write(goal, edited)
    click.echo(f"{text_of(key)} is no longer set in {goal.path}.")


@click.command("edit", cls=Command, epilog=EDIT, short_help="Edit a file of settings.")
@target_options
def edit(team: bool, profile: str | None) -> None:
    """Open your own settings in your editor, or those that the options name.

    What is saved is checked first. While something is wrong with it, the file stays as it was.
    """
    goal = target(team=team, profile=profile)
    text = goal.text() or _HEAD
    while (changed := click.edit(text, extension=".yaml")) is not None:
        problems = _problems(goal, changed)
        if not problems:
            store.write(goal.path, changed)
            click.echo(f"{goal.path} is written.")
            return
        for problem in problems:
            show_error(SettingsError(problem))
        if not (sys.stdin.isatty() and click.confirm("Edit it again?", default=True, err=True)):
            raise UsageError("Nothing is written, as something is wrong.")
        text = changed
    click.echo("Nothing is changed.")


def _option(goal: Target, key: Key, values: tuple[str, ...]) -> Option:
    """The option that is meant. Raises UsageError when it cannot be set so, there."""
    command, name = key
    leaf = Leaf(values, 0, is_list=len(values) > 1)
    section = Section({name: leaf})
    if command and command not in everything().commands:
        raise UsageError(*unknown(everything(), command, name))
    problems = goal.checked(Section({command: section}) if command else section).problems
    if problems:
        raise UsageError(problems[0].what, problems[0].hint)
    options = dict(everything().having(name))
    if not command and name in OWN:
        if name == "profile":
            existing_profile(values[0])
        return OWN[name]
    meant = [options[command]] if command else options.values()
    return next(option for option in meant if usable(option, values) is not None)


def _problems(goal: Target, text: str) -> list[Problem]:
    try:
        return goal.checked_text(text).problems
    except SettingsError as error:
        return [error.problem]


def _write(goal: Target, edited: Edited) -> None:
    store.write(goal.path, edited.text)
    if edited.lost_comments:
        click.echo(f"note:  Comments in {goal.path} are lost.", err=True)


def _tell_what_counts(goal: Target, key: Key) -> None:
    """Say for which commands something else counts more than what was just set."""
    settings = load()
    if goal.layer is Layer.PROFILE and settings.profile != goal.profile:
        hint = f"'tow config load-profile {goal.profile}' makes it count."
        click.echo(f"note:  The profile {goal.profile} is not loaded: {hint}", err=True)
        return
    command, name = key
    options = dict(everything().having(name))
    values = {
        each: settings.value(each, option)
        for each, option in options.items()
        if command in ("", each)
    }
    counting: dict[str, list[str]] = {}
    for each, value in values.items():
        if value.origin.where != str(goal.path):
            counting.setdefault(str(value.origin), []).append(f"tow {each}")
    for origin, commands in counting.items():
        whose = "" if len(commands) == len(values) else f" for {', '.join(commands)}"
        click.echo(f"note:  What counts{whose} is this: {origin}.", err=True)
