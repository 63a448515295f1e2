"""What is known of another tool: its options and commands, and what they are here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

#: Options of `tow` itself, which stand before the command.
ROOT_OPTIONS = frozenset({"-v"})
NOT_YET = "It is not there yet."


@dataclass(frozen=True, slots=True)
class Spelling:
    """An option of another tool.

    `meant` is what it is here, "{}" standing for its value; None if nothing here is that. If
    `parts` makes several texts of the value, it is so for each. With `values` it is so for these
    alone, of an option that may be ours for others. `advice` is told where it is not so.
    """

    name: str
    meant: tuple[str, ...] | None = None
    advice: str = NOT_YET
    values: tuple[str, ...] = ()
    flag: bool = False
    parts: Callable[[str], list[str]] | None = None

    def here(self, value: str, options: Collection[str]) -> list[str] | None:
        """What it is at a command with these options; None if it is nothing there."""
        if self.meant is None or (self.values and value not in self.values):
            return None
        parts = [value] if self.parts is None else self.parts(value)
        words = [word.replace("{}", part) for part in parts for word in self.meant]
        named = {word for word in words if word.startswith("-")}
        return words if named <= {*options, *ROOT_OPTIONS} else None


@dataclass(frozen=True, slots=True)
class Tool:
    """Another tool; `page` is what the documents tell its users.

    `options` are those by their command, "" being any; `commands` those that are not here, with
    what to do instead; `below` are commands of commands that have another name here. Before its
    command a tool may have options that we have behind it: `moved` are those with a value, `early`
    short ones that would be something else there.
    """

    name: str
    page: str
    options: Mapping[str, tuple[Spelling, ...]]
    commands: Mapping[str, str]
    below: Mapping[tuple[str, str], str] = field(default_factory=dict)
    moved: frozenset[str] = frozenset()
    early: Mapping[str, str] = field(default_factory=dict)

    def find(self, command: str, name: str) -> Spelling | None:
        """An option of that name at a command."""
        known = (*self.options.get(command, ()), *self.options.get("", ()))
        return next((each for each in known if each.name == name), None)
