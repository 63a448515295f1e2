"""What can be set: the options of all commands, as settings have them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

Options = Mapping[str, "Option"]


class Kind(Enum):
    """What an option's value, or each of several, is; the names are those of JSON Schema."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command. `name` is as on the command line, without the dashes.

    `read` makes the option's value of what was written, one text for each of its values, and
    raises ValueError with what is wrong. `multiple` says whether there may be several, `is_path`
    that it names a file, `minimum` is the least number, `choices` are all that there are if it
    is one of some.
    `refusal` says of a value why a file that comes with somebody's clone may not say so, "" that
    it may.
    """

    name: str
    kind: Kind
    read: Callable[[tuple[str, ...]], Any]
    refusal: Callable[[Any], str]
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    multiple: bool = False
    required: bool = False
    is_path: bool = False
    default: Any = None
    help: str = ""

    def anchored(self, texts: tuple[str, ...], folder: Path) -> tuple[str, ...]:
        """What was written as it is anywhere: files are named from a folder on, "" is none."""
        if not self.is_path:
            return texts
        return tuple(text and str(folder / Path(text).expanduser()) for text in texts)


@dataclass(frozen=True, slots=True)
class Schema:
    """The options of each command, by the commands' names; some may be slow to look at."""

    commands: Mapping[str, Options]

    def having(self, name: str) -> Iterator[tuple[str, Option]]:
        """The commands that have an option of this name, and that option of theirs, one by one."""
        for command, options in self.commands.items():
            if name in options:
                yield command, options[name]

    def options(self) -> set[str]:
        """The names of all options, of whatever command."""
        return {name for options in self.commands.values() for name in options}

    def names(self) -> set[str]:
        """All that may stand at the top of a file: options of any command, and commands."""
        return self.options() | set(self.commands)


def nearest(name: str, valid: set[str]) -> str:
    """The valid name that somebody who wrote `name` may have meant, or ""."""
    near = difflib.get_close_matches(name.replace("_", "-"), sorted(valid), n=1)
    return near[0] if near else ""
