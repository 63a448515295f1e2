"""docs/commands.md has every command, every option and every exit code."""

import re
from pathlib import Path

import click
import pytest

from towline import errors
from towline.cli import main as cli
from towline.cli.commands import COMMANDS
from towline.cli.output import INTERNAL_ERROR
from towline.kube.errors import ApiError

DOCUMENT = (Path(__file__).parents[3] / "docs" / "commands.md").read_text()
CONTEXT = click.Context(cli.main)


def section(name: str) -> str:
    """The part of the document that is about a command, and has it in its heading."""
    parts = DOCUMENT.split("\n## ")
    (part,) = [part for part in parts if f"`tow {name}`" in part.partition("\n")[0]]
    return part


def options(command: click.Command | None) -> list[click.Option]:
    """Those of the command, and of the commands that it has."""
    assert command is not None
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    own = [each for each in command.params if isinstance(each, click.Option)]
    return own + [option for each in inner for option in options(each)]


def table_of_options(name: str) -> set[str]:
    """The names in the first column of the section's tables."""
    cells = re.findall(r"(?m)^\| (`-[^|]*)", section(name))
    return {word for cell in cells for word in re.findall(r"`(-[a-zA-Z-]+)", cell)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented_and_no_other(name: str) -> None:
    existing = options(cli.main.get_command(CONTEXT, name))
    assert table_of_options(name) == {word for option in existing for word in option.opts}
    for option in existing:
        assert not option.envvar, "each option has its variable, by the settings"


def test_options_of_the_program_itself_are_documented() -> None:
    preamble = DOCUMENT.partition("\n## ")[0]
    names = {"-h", "--help", *(word for option in options(cli.main) for word in option.opts)}
    assert names <= set(re.findall(r"`(-[a-zA-Z-]+)`", preamble))


def test_exit_codes_are_documented() -> None:
    kinds = [errors.TowlineError, *errors.TowlineError.__subclasses__(), ApiError]
    codes = {str(kind.exit_code) for kind in kinds} | {str(INTERNAL_ERROR)}
    assert codes <= set(re.findall(r"(?m)^\| (\d+) \|", DOCUMENT))
