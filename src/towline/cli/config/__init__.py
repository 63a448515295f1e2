"""`tow config`: settings, shown and changed, also when something is wrong with them."""

from __future__ import annotations

import click

from towline.cli.command import Group
from towline.cli.config import change, profiles, show

EPILOG = """\b
Examples:
  tow config show --origin              what is set, and where
  tow config set namespace shop         for every command that has --namespace
  tow config set exchange.mode scale    for tow exchange alone
  tow config set --team namespace shop  in .towline.yaml, for all who work on this tree
  tow config save-profile work          keep what is set as a profile
  tow config load-profile work          and have it count again, later
"""


class _InOrder(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, as they are added."""
        return list(self.commands)


@click.group("config", cls=_InOrder, epilog=EPILOG)
def command() -> None:
    """Show and change what options are when nobody gives them.

    Each option of each command can be set: by your company, by your team (.towline.yaml), by you,
    by a profile of yours, and by a variable of the environment, TOW_… Each of these counts more
    than those before it, and a flag counts most.

    A KEY is an option's name, such as namespace, for all commands that have it; or exchange.mode
    for one command alone.
    """


for each in (
    show.show,
    show.get,
    change.put,
    change.remove,
    change.edit,
    profiles.list_profiles,
    profiles.save_profile,
    profiles.load_profile,
    profiles.drop_profile,
):
    command.add_command(each)
