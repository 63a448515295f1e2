"""What `tow up` is to bring up: a file of commands with their options, and of programs to run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from towline.settings import document
from towline.settings.problem import Problem, SettingsError
from towline.settings.schema import Kind, Option, Options, nearest

#: The name of programs in the file: at its top, and in an entry of a command.
RUN = "run"
#: What an entry of a program of its own may say.
NAME, COMMAND = "name", "command"
_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class Form:
    """What an entry of a command may say: its arguments, all of which it needs, and its options.

    `takes_program` says whether it may run a program of this machine besides. Of the arguments in
    `several`, behind the others, there may be any number.
    """

    arguments: tuple[str, ...]
    options: Options
    takes_program: bool
    several: tuple[str, ...] = ()


Forms = Mapping[str, Form]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to bring up: a command with what follows it, and the program that it runs.

    Without a command it is that program alone. `label` is what users know it by, and no other's.
    """

    label: str
    command: str
    arguments: tuple[str, ...]
    program: tuple[str, ...]


def load(path: Path, forms: Forms) -> list[Entry]:
    """Read a file, in its order. Raises SettingsError with the first thing that is wrong."""
    if not path.is_file():
        hint = "Name one with --file, or write one: 'tow up --help' shows how."
        raise SettingsError(Problem(str(path), 0, "There is no such file.", hint))
    return parse(document.read_text(path), str(path), path.absolute().parent, forms)


def parse(text: str, file: str, base: Path, forms: Forms) -> list[Entry]:
    """Read the text of `file`; names of files in it are from the folder `base` on."""
    root = document.compose(text, file)
    reading = _Reading(file, base, forms)
    entries = list(reading.entries(root)) if root is not None and root.tag != _NULL else []
    if not entries:
        hint = f"It may hold {', '.join(forms)} and {RUN}."
        raise SettingsError(Problem(file, 0, "There is nothing to bring up.", hint))
    return entries


# A name's own node, and that of what it has.
_Member = tuple[yaml.Node, yaml.Node]


@dataclass(slots=True)
class _Reading:
    file: str
    base: Path
    forms: Forms
    _labels: set[str] = field(default_factory=set)

    def entries(self, root: yaml.Node) -> Iterator[Entry]:
        members = self._members(root, "Commands are needed here, such as 'connect:'.")
        common = {name: each for name, each in members.items() if not self._is_command(name)}
        for name, (key, value) in common.items():
            self._check_common(name, key, value)
        for name, (key, value) in members.items():
            for item in _items(value) if self._is_command(name) else ():
                if name == RUN:
                    yield self._program_alone(item)
                else:
                    yield self._entry(name, item, key, common)

    def _is_command(self, name: str) -> bool:
        return name == RUN or name in self.forms

    def _check_common(self, name: str, key: yaml.Node, value: yaml.Node) -> None:
        """Raise SettingsError unless it is an option of a command, with a value that one takes."""
        having = [form.options[name] for form in self.forms.values() if name in form.options]
        if not having:
            valid = {name for form in self.forms.values() for name in form.options}
            raise self._unknown(key, name, {*valid, *self.forms, RUN}, "")
        faults = [self._fault(option, value) for option in having]
        if all(faults):
            raise self._error(value, faults[0])

    def _entry(
        self, command: str, item: yaml.Node, key: yaml.Node, common: Mapping[str, _Member]
    ) -> Entry:
        form = self.forms[command]
        what = f"Options of 'tow {command}' are needed here, each as 'option: value'."
        own = {} if item.tag == _NULL else self._members(item, what)
        program = [RUN] if form.takes_program else []
        valid = {*form.arguments, *form.several, *form.options, *program}
        for name, (its_key, _) in own.items():
            if name not in valid:
                raise self._unknown(its_key, name, valid, f" of 'tow {command}'")
        place = key if item.tag == _NULL else item
        for name in form.arguments:
            if name not in own:
                raise self._error(place, f"'{command}' needs '{name}'.")
        named = [self._argument(name, own[name][1]) for name in form.arguments]
        more = [text for name in form.several for text in self._arguments(name, own)]
        options = []
        for name, option in form.options.items():
            if name in own:
                options += self._option(option, own[name][1])
            elif name in common and not self._fault(option, common[name][1]):
                options += self._option(option, common[name][1])
            elif option.required:
                raise self._error(place, f"'{command}' needs '{name}'.")
        label = self._label(" ".join([command, *named]))
        running = self._program(own[RUN][1]) if RUN in own else ()
        return Entry(label, command, (*named, *more, *options), running)

    def _program_alone(self, item: yaml.Node) -> Entry:
        hint = f"'{RUN}' has programs, each with '{COMMAND}: [python, worker.py]'."
        members = self._members(item, hint)
        for name, (key, _) in members.items():
            if name not in (NAME, COMMAND):
                raise self._unknown(key, name, {NAME, COMMAND}, f" of '{RUN}'")
        if COMMAND not in members:
            raise self._error(item, f"'{RUN}' needs '{COMMAND}'.")
        program = self._program(members[COMMAND][1])
        name = self._argument(NAME, members[NAME][1]) if NAME in members else program[0]
        return Entry(self._label(f"{RUN} {name}"), "", (), program)

    def _program(self, value: yaml.Node) -> tuple[str, ...]:
        """A program and its arguments, which no shell reads."""
        words = self._texts(value) if isinstance(value, yaml.SequenceNode) else []
        if not words or not words[0]:
            raise self._error(value, "A program is a list here, such as [python, app.py].")
        return tuple(words)

    def _argument(self, name: str, value: yaml.Node) -> str:
        text = value.value if isinstance(value, yaml.ScalarNode) and value.tag != _NULL else ""
        if not text or text.startswith("-"):
            raise self._error(value, f"'{name}' needs a name.")
        return str(text)

    def _arguments(self, name: str, own: Mapping[str, _Member]) -> list[str]:
        """One or several, or none if it is not there."""
        value = own[name][1] if name in own else None
        if value is None or value.tag == _NULL:
            return []
        return [self._argument(name, each) for each in _items(value)]

    def _option(self, option: Option, value: yaml.Node) -> list[str]:
        """As it is on the command line; nothing for null, which leaves it to the settings."""
        if value.tag == _NULL:
            return []
        if fault := self._fault(option, value):
            raise self._error(value, fault)
        texts = tuple(self._texts(value))
        if option.kind is Kind.BOOLEAN:
            return [f"--{option.name}" if option.read(texts) else f"--no-{option.name}"]
        return [f"--{option.name}={text}" for text in option.anchored(texts, self.base)]

    def _fault(self, option: Option, value: yaml.Node) -> str:
        """What is wrong with a value for an option; "" for nothing."""
        if value.tag == _NULL:
            return ""
        if isinstance(value, yaml.SequenceNode) and not option.multiple:
            return f"'{option.name}' takes one value, not a list."
        try:
            option.read(tuple(self._texts(value)))
        except ValueError as error:
            return f"'{option.name}': {error}"
        return ""

    def _texts(self, value: yaml.Node) -> list[str]:
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        for item in items:
            if not isinstance(item, yaml.ScalarNode) or item.tag == _NULL:
                raise self._error(item, "A value is needed here.")
        return [item.value for item in items]

    def _label(self, wanted: str) -> str:
        others = (f"{wanted} ({number})" for number in itertools.count(2))
        label = next(each for each in itertools.chain([wanted], others) if each not in self._labels)
        self._labels.add(label)
        return label

    def _members(self, node: yaml.Node, otherwise: str) -> dict[str, _Member]:
        """What a mapping has, by name; `otherwise` says what is needed if it is none."""
        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, otherwise)
        members: dict[str, _Member] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, "A name is needed here.")
            if key.value in members:
                raise self._error(key, f"'{key.value}' is there twice.")
            members[key.value] = key, value
        return members

    def _unknown(self, key: yaml.Node, name: str, valid: set[str], of: str) -> SettingsError:
        near = nearest(name, valid)
        hint = f"Did you mean '{near}'?" if near else f"There are: {', '.join(sorted(valid))}."
        return self._error(key, f"There is no '{name}'{of}.", hint)

    def _error(self, node: yaml.Node, what: str, hint: str = "") -> SettingsError:
        return SettingsError(Problem(self.file, node.start_mark.line + 1, what, hint))


def _items(value: yaml.Node) -> list[yaml.Node]:
    """The entries of a command: one, or a list of them; null is one that says nothing."""
    items: list[yaml.Node] = value.value if isinstance(value, yaml.SequenceNode) else [value]
    return items
