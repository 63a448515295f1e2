"""`tow config …-profile`: sets of settings with a name, of which one at a time counts."""

from __future__ import annotations

import click

from towline.cli import offers
from towline.cli.command import Command
from towline.cli.config.common import Target, existing_profile, load, target
from towline.cli.options import output_option
from towline.cli.output import print_json
from towline.errors import UsageError
from towline.settings import editing, places, store
from towline.settings.document import Section, parse
from towline.settings.layers import Key
from towline.settings.problem import SettingsError

LIST = """\b
Examples:
  tow config list-profiles    all, with a * at the one that is loaded
"""
SAVE = """\b
Examples:
  tow config save-profile work            your settings as they are now
  tow config save-profile --force work    in place of what is saved by that name
"""
LOAD = """\b
Examples:
  tow config load-profile work      it counts from now on
  tow config load-profile --none    none does
"""
DROP = """\b
Examples:
  tow config drop-profile work
"""
_LOADED: Key = ("", "profile")


@click.command("list-profiles", cls=Command, epilog=LIST)
@output_option
def list_profiles(output: str) -> None:
    """List your profiles."""
    found = places.find()
    loaded = load().profile
    names = found.profile_names()
    if output == "json":
        print_json(
            [
                {"name": name, "loaded": name == loaded, "file": str(found.profile(name))}
                for name in names
            ]
        )
        return
    for name in names:
        click.echo(f"{'*' if name == loaded else ' '} {name}")
    if not names:
        click.echo("There is no profile. 'tow config save-profile' makes one.")


@click.command("save-profile", cls=Command, epilog=SAVE, short_help="Save your settings as one.")
@click.argument("name", shell_complete=offers.profiles)
@click.option("--force", is_flag=True, help="In place of one of that name.")
def save_profile(name: str, force: bool) -> None:
    """Save your settings, with the profile that is loaded, as the profile NAME.

    Those of the team, the company and the environment are not in it.
    """
    goal = target(team=False, profile=name)
    if goal.path.exists() and not force:
        raise UsageError(f"There is a profile {name} already.", "--force puts this in its place.")
    text = _own()
    if not parse(text, "").members:
        raise UsageError("You have set nothing that could be saved.", "'tow config set' does.")
    store.write(goal.path, text)
    click.echo(f"Saved as {goal.path}. 'tow config load-profile {name}' makes it count.")


@click.command("load-profile", cls=Command, epilog=LOAD, short_help="Have one count, or none.")
@click.argument("name", required=False, shell_complete=offers.profiles)
@click.option("--none", "nothing", is_flag=True, help="From now on no profile counts.")
def load_profile(name: str | None, nothing: bool) -> None:
    """Have the profile NAME count from now on, more than your other settings."""
    if bool(name) is nothing:
        raise UsageError("Either a NAME or --none.")
    goal = target(team=False, profile=None)
    file = str(goal.path)
    if name is None:
        store.write(goal.path, editing.remove(goal.text(), _LOADED, file).text)
        click.echo("No profile is loaded.")
        return
    existing_profile(name)
    _refuse_broken(target(team=False, profile=name))
    store.write(goal.path, editing.put(goal.text(), _LOADED, name, file).text)
    click.echo(f"The profile {name} is loaded.")
    if load().profile != name:
        click.echo("note:  TOW_PROFILE in the environment names another, and counts.", err=True)


@click.command("drop-profile", cls=Command, epilog=DROP, short_help="Delete one.")
@click.argument("name", shell_complete=offers.profiles)
def drop_profile(name: str) -> None:
    """Delete the profile NAME; if it is loaded, none is then."""
    existing_profile(name)
    own = target(team=False, profile=None)
    text = own.text()
    loaded = parse(text, str(own.path)).members.get("profile")
    if not isinstance(loaded, Section | None) and loaded.texts == (name,):
        store.write(own.path, editing.remove(text, _LOADED, str(own.path)).text)
    store.delete(places.find().profile(name))
    click.echo(f"The profile {name} is deleted.")


def _own() -> str:
    """The user's settings, and on top of them those of the loaded profile."""
    own = target(team=False, profile=None)
    _refuse_broken(own)
    text = editing.remove(own.text(), _LOADED, str(own.path)).text
    loaded = load().profile
    if not loaded:
        return text
    upper = target(team=False, profile=loaded)
    _refuse_broken(upper)
    return editing.overlay(text, upper.text(), str(upper.path)).text


def _refuse_broken(goal: Target) -> None:
    problems = goal.checked_text(goal.text()).problems
    if problems:
        raise SettingsError(problems[0])
