"""How commands explain themselves: by examples first."""

from __future__ import annotations

import click


class _ExamplesFirst(click.Command):
    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click's, behind the examples."""
        formatter.write(f"{examples(self)}\n\n")
        super().format_help(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Not again at the end."""


class Command(_ExamplesFirst):
    """A command whose `epilog` holds examples, with which its help begins."""


class Group(_ExamplesFirst, click.Group):
    """The same for commands that have commands."""


def examples(command: click.Command) -> str:
    """A command's examples as they are written, below a line that says so."""
    return (command.epilog or "").replace("\b\n", "").strip()
