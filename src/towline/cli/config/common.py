"""What the commands of `tow config` have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from towline.cli import offers
from towline.cli.defaults import load_all
from towline.cli.options import together
from towline.cli.output import show_error
from towline.cli.schema import schema
from towline.errors import UsageError
from towline.settings import document, places
from towline.settings.check import Checked, check, unknown_profile
from towline.settings.document import Section
from towline.settings.layers import Key, Layer, key_of
from towline.settings.load import Settings
from towline.settings.own import NO_PROFILE, read_profile
from towline.settings.problem import SettingsError
from towline.settings.schema import Schema

#: What can be set, of all commands.
everything: Callable[[], Schema] = functools.cache(schema)


@dataclass(frozen=True, slots=True)
class Target:
    """A file of settings that is to be changed, and its layer."""

    layer: Layer
    path: Path
    profile: str = ""

    def text(self) -> str:
        """What is in it; "" if it is not there. Raises SettingsError."""
        return document.read_text(self.path)

    def checked(self, section: Section) -> Checked:
        """What of a section can stand there."""
        return check(section, everything(), self.layer, str(self.path), self.path.parent)

    def checked_text(self, text: str) -> Checked:
        """The same of a whole text. Raises SettingsError when it is not in order."""
        return self.checked(document.parse(text, str(self.path)))


def key_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """KEY, as `key`."""
    return click.argument("key", shell_complete=offers.keys, callback=_key)(function)


def target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Which file is meant; `target` makes something of it."""
    return together(
        click.option("--team", is_flag=True, help="In .towline.yaml of this work tree."),
        click.option(
            "--profile",
            metavar="NAME",
            shell_complete=offers.profiles,
            help="In this profile of yours.",
        ),
    )(function)


def target(*, team: bool, profile: str | None) -> Target:
    """The file that is meant: the user's own, unless told otherwise. Raises UsageError."""
    found = places.find()
    if team and profile:
        raise UsageError("Either --team or --profile, not both.")
    if team:
        working_directory()
        path = found.team or found.team_folder / places.TEAM_NAME
        if path.is_symlink():
            what = f"{path} is a link, which comes with the clone and may lead anywhere."
            raise UsageError(what, "Change the file that it leads to.")
        return Target(Layer.TEAM, path)
    if profile:
        return Target(Layer.PROFILE, found.profile(profile_name(profile)), profile)
    return Target(Layer.USER, found.user)


def working_directory() -> Path:
    """Where the user is. Raises UsageError if that is deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("This folder is not there any more.", "Change to one that is.") from None


def profile_name(text: str) -> str:
    """The name of a profile. Raises UsageError."""
    try:
        name = read_profile(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if name == NO_PROFILE:
        raise UsageError(f"'{NO_PROFILE}' stands for no profile.", "Give it another name.")
    return name


def existing_profile(text: str) -> None:
    """Raises UsageError unless there is a profile of this name."""
    names = places.find().profile_names()
    if profile_name(text) not in names:
        raise UsageError(*unknown_profile(text, names))


def load() -> Settings:
    """All settings, whatever is wrong with them."""
    return load_all(click.get_current_context())


def tell_problems(settings: Settings) -> int:
    """Show all that is wrong on stderr; returns the exit code."""
    for problem in settings.problems:
        show_error(SettingsError(problem))
    return SettingsError.exit_code if settings.problems else 0


def _key(_: click.Context, __: click.Parameter, text: str) -> Key:
    return key_of(text)
