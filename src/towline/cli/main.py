"""The `tow` command: finds the subcommand, runs it, turns errors into words and exit codes."""

from __future__ import annotations

import os
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

from towline import __version__
from towline.cli.command import Group
from towline.cli.commands import COMMANDS, command_of

EPILOG = """\b
Examples:
  tow connect                     names of the current context's namespace, until Ctrl-C
  tow connect -n shop --detach    the same for namespace shop, in the background
  tow exchange web --expose 8080  what port 8080 of the service web is asked, a program here answers
  tow status                      what is running
  tow disconnect                  end it
"""


class LazyGroup(Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command = command_of(cmd_name)
        from towline.cli import defaults  # noqa: PLC0415 (which `tow --help` does without)

        defaults.prepare(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click's, and what the company says that ships this."""
        from towline.cli import shipped  # noqa: PLC0415

        super().format_help(ctx, formatter)
        shipped.write_help(formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """As click's, without importing the commands."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, of what users of other tools may have written."""
        if not ctx.resilient_parsing:
            from towline.cli import spellings  # noqa: PLC0415

            args = spellings.translate(args, lambda name: self._spellings_of(ctx, name))
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the command's settings, or the nearest name when there is none."""
        try:
            found = super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib  # noqa: PLC0415

            from towline.cli import spellings  # noqa: PLC0415

            spellings.refuse_command(args[0])
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if not near:
                raise
            hint = f"{error.format_message()} Did you mean '{near[0]}'?"
            raise click.UsageError(hint, ctx) from None
        _, command, rest = found
        if command is not None:
            from towline.cli import defaults  # noqa: PLC0415

            defaults.give(ctx, command, rest)
        return found

    def _spellings_of(self, ctx: click.Context, name: str) -> set[str]:
        """Those of the options of a command; of none if there is no such command."""
        command = self.get_command(ctx, name)
        own = command.params if command else ()
        return {word for each in own for word in (*each.opts, *each.secondary_opts)}


def _profiles(
    ctx: click.Context, option: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    from towline.cli import offers  # noqa: PLC0415

    return offers.profiles(ctx, option, incomplete)


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", count=True, help="Log to stderr what is done; -vv in detail.")
@click.option(
    "--profile",
    metavar="NAME",
    shell_complete=_profiles,
    help="Your profile of settings for once; none for none.",
)
@click.version_option(__version__, prog_name="towline")
def main(verbose: int, profile: str | None) -> None:
    """Two-way networking between this machine and a Kubernetes cluster, leaving no trace."""
    del profile  # read where settings are loaded
    if verbose:
        import logging  # noqa: PLC0415

        level = logging.INFO if verbose == 1 else logging.DEBUG
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def run(argv: list[str] | None = None) -> None:
    """The console script: never returns, never shows a traceback for what a user can mend."""
    if instruction := os.environ.get("_TOW_COMPLETE"):
        from towline.cli.completion import answer  # noqa: PLC0415

        answer(main, instruction)
    try:
        code: Any = main.main(args=argv, prog_name="tow", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 (the last line before the user)
        from towline.cli import shipped  # noqa: PLC0415
        from towline.cli.output import show_error, told  # noqa: PLC0415

        known = told(error)
        show_error(known)
        shipped.show_support(known)
        sys.exit(known.exit_code)
    sys.exit(code if isinstance(code, int) else 0)
