"""Commands and options as other tools spell them, read as they are meant.

The tables are in :mod:`towline.cli.ktconnect` and :mod:`towline.cli.telepresence`. What has the
same meaning here works; about the rest an error says what to call instead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from towline.cli import ktconnect, telepresence
from towline.cli.othertools import ROOT_OPTIONS, Spelling, Tool
from towline.errors import UsageError

#: The options of a command of ours, in all their spellings.
OptionsOf = Callable[[str], Collection[str]]

#: Options of `tow` itself that have a value.
ROOT_VALUED = frozenset({"--profile"})
#: Those whose users are understood.
TOOLS = (ktconnect.TOOL, telepresence.TOOL)


def refuse_command(name: str) -> None:
    """Raise UsageError if another tool has a command of that name."""
    for tool in TOOLS:
        if name in tool.commands:
            raise UsageError(
                f"'{name}' is a command of {tool.name}, and none of tow.",
                f"{tool.commands[name]} See {tool.page}.",
            )


def translate(words: list[str], options_of: OptionsOf) -> list[str]:
    """A command line in our own spelling; one that is so already, as it is.

    Raises UsageError for an option of another tool that is nothing here.
    """
    end = words.index("--") if "--" in words else len(words)
    at = _command_at(words[:end])
    if at >= end:
        return words
    root: list[str] = []
    own: list[str] = []
    rest = words[:end]
    command = rest.pop(at)
    early = at
    while rest:
        taken, ours = _read(rest, command, options_of, early=early > 0)
        stays = early > 0 and ours == rest[:taken] and not _is_moved(ours[0])
        (root if stays or set(ours) & ROOT_OPTIONS else own).extend(ours)
        rest = rest[taken:]
        early -= taken
    return [*root, command, *_below(command, own), *words[end:]]


def _below(command: str, own: list[str]) -> list[str]:
    """What is behind a command, with our name for a command that comes next."""
    for tool in TOOLS:
        if own and (command, own[0]) in tool.below:
            return [tool.below[command, own[0]], *own[1:]]
    return own


def _command_at(words: list[str]) -> int:
    """Where the command is, or the end if there is none."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += _length(words[at], _find("", _late(words[at])))
    return at


def _read(
    words: list[str], command: str, options_of: OptionsOf, *, early: bool
) -> tuple[int, list[str]]:
    """How many words belong to the first one, and what they are here."""
    name = _late(words[0]) if early else words[0].partition("=")[0]
    found = _find(command, name)
    if found is None:
        length = _length(words[0], None)
        return length, words[:length]
    tool, spelling = found
    length = _length(words[0], found)
    if length > len(words):
        raise UsageError(f"{name} needs a value.")
    value = words[0].partition("=")[2] if length == 1 else words[1]
    ours = spelling.here(value, options_of(command))
    if ours is None and name in options_of(command):
        return length, words[:length]
    if ours is None:
        what = f"{name} {value}" if spelling.values else name
        raise UsageError(
            f"'{what}' is an option of {tool.name}, and none of 'tow {command}'.",
            f"{spelling.advice} See {tool.page}.",
        )
    return length, ours


def _late(word: str) -> str:
    """An option's name, as it is wherever it stands."""
    name = word.partition("=")[0]
    return next((tool.early[name] for tool in TOOLS if name in tool.early), name)


def _length(word: str, found: tuple[Tool, Spelling] | None) -> int:
    """How many words an option is: with a value of its own two."""
    if "=" in word or (found and found[1].flag):
        return 1
    if found or word in ROOT_VALUED:
        return 2
    return 2 if any(word in tool.moved for tool in TOOLS) else 1


def _is_moved(word: str) -> bool:
    name = word.partition("=")[0] if word.startswith("--") else word[:2]
    return any(name in tool.moved for tool in TOOLS)


def _find(command: str, name: str) -> tuple[Tool, Spelling] | None:
    for tool in TOOLS:
        if spelling := tool.find(command, name):
            return tool, spelling
    return None
