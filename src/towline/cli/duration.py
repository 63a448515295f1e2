"""Lengths of time on the command line: `90s`, `10m`, `2h`, `1d`."""

from __future__ import annotations

import re
from datetime import timedelta

import click

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse(text: str) -> timedelta:
    """Read a number with its unit, which has no default: each reader would take another one.

    Raises click.BadParameter.
    """
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if not match:
        raise click.BadParameter(f"'{text}' is not a length of time, such as 90s, 10m, 2h or 1d.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def option(_: click.Context, __: click.Parameter, text: str | None) -> timedelta | None:
    """An option's callback that reads its value."""
    return None if text is None else parse(text)
