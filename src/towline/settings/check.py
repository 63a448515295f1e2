"""Whether what a file says can be set, and so: every name and every value, each with its line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from towline.settings.distribution import ITS_OWN
from towline.settings.document import Leaf, Section
from towline.settings.layers import Key, Layer, Origin, Written, usable
from towline.settings.own import OWN
from towline.settings.problem import Problem
from towline.settings.schema import Option, Schema, nearest

_PROFILE_HINT = "'tow config load-profile' writes it into your own settings."


@dataclass(slots=True)
class Checked:
    """What of a file can be used, and what is wrong with the rest."""

    entries: dict[Key, Written] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def check(section: Section, schema: Schema, layer: Layer, file: str, base: Path) -> Checked:
    """Look at all of a file of a layer; names of files in it are from the folder `base` on."""
    checking = _Checking(schema, layer, file, base)
    for name, member in section.members.items():
        checking.member(name, member)
    return checking.done


class _Checking:
    def __init__(self, schema: Schema, layer: Layer, file: str, base: Path) -> None:
        self.done = Checked()
        self._schema = schema
        self._layer = layer
        self._file = file
        self._base = base

    def member(self, name: str, member: Leaf | Section) -> None:
        if name not in self._schema.commands:
            self._entry("", name, member)
        elif isinstance(member, Section):
            for inner, leaf in member.members.items():
                self._entry(name, inner, leaf)
        elif member.texts is not None:
            self._complain(
                member.line,
                f"'{name}' is a command, so its options are needed here, not a value.",
                f"Write them below it, each as '  option: value'. 'tow {name} --help' has them.",
            )

    def _entry(self, command: str, name: str, member: Leaf | Section) -> None:
        option = next(self._options(command, name), None)
        if option is None:
            what, hint = unknown(self._schema, command, name)
            self._complain(member.line, what, hint)
        elif isinstance(member, Section):
            self._complain(member.line, f"'{name}' needs a value here, not further names.")
        elif self._is_right(command, option, member):
            origin = Origin(self._layer, self._file, member.line)
            texts = None if member.texts is None else option.anchored(member.texts, self._base)
            self.done.entries[command, name] = Written(texts, origin)

    def _options(self, command: str, name: str) -> Iterator[Option]:
        """Those that are meant, one by one."""
        if command:
            options = self._schema.commands[command]
            return iter([options[name]] if name in options else [])
        if name in OWN:
            return iter([OWN[name]])
        return (option for _, option in self._schema.having(name))

    def _is_right(self, command: str, option: Option, leaf: Leaf) -> bool:
        """Whether the value may be written here; complains if not."""
        name = option.name
        if name == "profile" and self._layer is not Layer.USER:
            what = "A profile is chosen by whoever uses it, not here."
            return self._complain(leaf.line, what, _PROFILE_HINT)
        if leaf.is_list and not option.multiple:
            return self._complain(leaf.line, f"'{name}' takes one value, not a list.")
        fault = "" if leaf.texts is None else wrong(self._options(command, name), leaf.texts)
        if fault:
            return self._complain(leaf.line, f"'{name}': {fault}")
        options = self._options(command, name)
        if self._layer is Layer.TEAM and (reason := _refusal(options, leaf.texts)):
            return self._complain(
                leaf.line,
                f"'{name}' may not be set so by a file that comes with a clone: {reason}.",
                f"For yourself you may: 'tow config set {name} …'.",
            )
        return True

    def _complain(self, line: int, what: str, hint: str = "") -> bool:
        self.done.problems.append(Problem(self._file, line, what, hint))
        return False


def wrong(options: Iterable[Option], texts: tuple[str, ...]) -> str:
    """What is wrong with a value that none of these options can have; "" if one can."""
    first = ""
    for option in options:
        try:
            option.read(texts)
        except ValueError as error:
            first = first or str(error)
        else:
            return ""
    return first


def _refusal(options: Iterable[Option], texts: tuple[str, ...] | None) -> str:
    """Why not; one that can have the value tells it for all, as those of one name are alike.

    Null is a value, too: it would put aside what a company has said.
    """
    if texts is None:
        return next(option.refusal(option.default) for option in options)
    read = ((option, usable(option, texts)) for option in options)
    return next((option.refusal(value) for option, value in read if value is not None), "")


def unknown_profile(name: str, names: Sequence[str]) -> tuple[str, str]:
    """What to say of a profile that is not among those that there are."""
    near = nearest(name, set(names))
    if near:
        hint = f"Did you mean '{near}'?"
    elif names:
        hint = f"There are: {', '.join(names)}."
    else:
        hint = "There is none yet: 'tow config save-profile' makes one."
    return f"There is no profile '{name}'.", hint


def unknown(schema: Schema, command: str, name: str) -> tuple[str, str]:
    """What to say of a name that is none, and which may have been meant."""
    if command and command not in schema.commands:
        what = f"'{command}' is no command whose options can be set."
        near = nearest(command, set(schema.commands))
    elif not command and name in ITS_OWN:
        return f"'{name}' is no option.", "Only what a company ships can say that."
    elif not command:
        near = nearest(name, schema.names() | set(OWN))
        what = f"There is no option or command '{name}'."
    else:
        near = nearest(name, set(schema.commands[command]))
        what = f"'tow {command}' has no option '{name}'."
        others = sorted(dict(schema.having(name)))
        if others and not near:
            return what, f"These have it: {', '.join(others)}."
    return what, f"Did you mean '{near}'?" if near else "'tow config show --all' lists all names."
