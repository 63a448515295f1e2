"""What the company says that ships this, if one does: in help, and below errors."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import click

from towline.errors import TowlineError, UsageError
from towline.settings import places

if TYPE_CHECKING:
    from towline.settings.distribution import Distribution


def write_help(formatter: click.HelpFormatter) -> None:
    """Write its text, and whom to ask."""
    found = _find()
    if found is None or not (found.help or found.support):
        return
    with formatter.section(f"From {found.name}"):
        for paragraph in filter(None, (found.help, found.support)):
            formatter.write_paragraph()
            formatter.write_text(paragraph)


def show_support(error: TowlineError) -> None:
    """Print whom to ask, below an error that is not one of the command line's own."""
    if isinstance(error, UsageError):
        return
    found = _find()
    if found is not None and found.support:
        click.echo(f"support: {found.support}", err=True)


def _find() -> Distribution | None:
    """None also for one that is broken: here is not the place to say so."""
    points = list(entry_points(group=places.GROUP))
    if not points and not places.MACHINE.exists():
        return None
    from towline.settings import distribution  # noqa: PLC0415 (which needs more)

    try:
        return distribution.find(places.MACHINE, points)
    except TowlineError:
        return None
