"""`tow man`: the manual pages, made of what the commands say of themselves.

See man-pages(7) for the sections of a page, groff_man(7) for its markup.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from towline import __version__
from towline.cli.command import Command, examples
from towline.cli.schema import UNSETTABLE, options_of
from towline.errors import UsageError
from towline.settings.environment import variable

EPILOG = """\b
Examples:
  tow man ~/.local/share/man/man1    for yourself, if ~/.local/bin is in PATH
  sudo tow man /usr/local/share/man/man1    for everybody
"""


@click.command("man", cls=Command, epilog=EPILOG)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def command(folder: Path) -> None:
    """Write the manual pages of tow and its commands to FOLDER, which is made if need be.

    man finds them there if FOLDER is the man1 of a folder that `manpath` tells. Then `man tow` is
    the page of tow, `man tow-connect` that of tow connect.
    """
    from towline.cli.main import main  # noqa: PLC0415

    written = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages(click.Context(main, info_name="tow", **main.context_settings)):
            (folder / f"{name}.1").write_text(text)
            written += 1
    except OSError as error:
        raise UsageError(
            f"Manual pages cannot be written to {folder}: {error.strerror}."
        ) from error
    click.echo(f"{written} manual pages are in {folder}.")


def pages(ctx: click.Context) -> Iterator[tuple[str, str]]:
    """The name and the text of the page of a command, and of all below it."""
    yield ctx.command_path.replace(" ", "-"), _page(ctx)
    for name, below in _below(ctx):
        yield from pages(click.Context(below, info_name=name, parent=ctx))


def escape(text: str) -> str:
    """Text as groff has it, in which no character is markup, and all are ASCII."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"(?m)^(?=[.'])", r"\\&", text)
    return re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", text)


def _page(ctx: click.Context) -> str:
    named = ctx.command_path.replace(" ", "-")
    summary = ctx.command.get_short_help_str(limit=200).rstrip(".")
    pieces = " ".join(ctx.command.collect_usage_pieces(ctx))
    below = [(name, each.get_short_help_str(limit=200)) for name, each in _below(ctx)]
    lines = [
        f'.TH "{escape(named.upper())}" 1 "" "towline {escape(__version__)}" "towline"',
        *(".SH NAME", f"{escape(named)} \\- {escape(summary)}"),
        *(".SH SYNOPSIS", f".B {escape(ctx.command_path)}", escape(pieces)),
        *(".SH EXAMPLES", *_as_written(examples(ctx.command).partition("\n")[2])),
        *(".SH DESCRIPTION", *_paragraphs(inspect.cleandoc(ctx.command.help or ""))),
        *(".SH OPTIONS", *_definitions(_options(ctx))),
        *((".SH COMMANDS", *_definitions(below)) if below else ()),
        *_environment(ctx),
        *(".SH SEE ALSO", *_see_also(ctx)),
    ]
    return "\n".join(lines) + "\n"


def _options(ctx: click.Context) -> list[tuple[str, str]]:
    shown = (each.get_help_record(ctx) for each in ctx.command.get_params(ctx))
    return [record for record in shown if record is not None and record[0].startswith("-")]


def _environment(ctx: click.Context) -> list[str]:
    if ctx.parent is None:
        about = "Your profile of settings, unless --profile names one."
        return [".SH ENVIRONMENT", *_definitions([(variable("", "profile"), about)])]
    if not UNSETTABLE.isdisjoint(ctx.command_path.split()):
        return []
    known = [
        (
            f"{variable(ctx.command.name or '', name)}, {variable('', name)}",
            f"The same as --{name}, for this command and for all.",
        )
        for name in options_of(ctx.command)
    ]
    return [".SH ENVIRONMENT", *_definitions(known)] if known else []


def _see_also(ctx: click.Context) -> list[str]:
    here = ctx.parent or ctx
    names = [here.command_path, *(f"{here.command_path} {name}" for name, _ in _below(here))]
    others = [name.replace(" ", "-") for name in names if name != ctx.command_path]
    return [f".BR {escape(name)} (1){',' if name != others[-1] else ''}" for name in others]


def _below(ctx: click.Context) -> list[tuple[str, click.Command]]:
    """The commands of a command, without those that are hidden."""
    if not isinstance(ctx.command, click.Group):
        return []
    found = {name: ctx.command.get_command(ctx, name) for name in ctx.command.list_commands(ctx)}
    return [(name, each) for name, each in found.items() if each is not None and not each.hidden]


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield ".PP"
        if paragraph.startswith("\b"):
            yield from _as_written(paragraph.removeprefix("\b\n"))
        else:
            yield escape(paragraph)


def _definitions(items: list[tuple[str, str]]) -> Iterator[str]:
    for term, text in items:
        yield from (".TP", f".B {escape(term)}", escape(" ".join(text.split())))


def _as_written(text: str) -> list[str]:
    return [".nf", escape(inspect.cleandoc(text)), ".fi"]
