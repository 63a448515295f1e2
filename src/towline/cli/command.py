"""How commands explain themselves: by examples first."""

from __future__ import annotations

import click


class _ExamplesFirst(click.Command):
    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click's, behind the examples."""
        formatter.write(f"{examples(self)}\n\n")
        super().format_help(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click's, but options that have a section of their own stand in that, at the end."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for each in self.get_params(ctx):
            if (record := each.get_help_record(ctx)) is not None:
                sections.setdefault(getattr(each, "section", "Options"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Not again at the end."""


class Command(_ExamplesFirst):
    """A command whose `epilog` holds examples, with which its help begins."""


class Group(_ExamplesFirst, click.Group):
    """The same for commands that have commands."""


def examples(command: click.Command) -> str:
    """A command's examples as they are written, below a line that says so."""
    return (command.epilog or "").replace("\b\n", "").strip()
