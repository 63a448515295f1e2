"""The commands' options as settings: derived from the commands, so that none is named twice."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from towline.cli import trust
from towline.cli.commands import COMMANDS, command_of
from towline.errors import TowlineError
from towline.settings.schema import Kind, Option, Options, Schema, nearest

# Commands that go by what is written after them alone: `tow config` is there for broken files, too.
UNSETTABLE = frozenset({"config"})


class Checked(click.Option):
    """An option whose values mean something only to the command: `check` raises what is wrong.

    The command does that itself; this is for whoever writes them down beforehand, as settings.
    """

    def __init__(self, *arguments: Any, check: Callable[[Any], object], **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.check = check


def schema(first: str = "") -> Schema:
    """What can be set for all commands, of which `first` is looked at first."""
    return Schema(_Commands(first))


class _Commands(Mapping[str, Options]):
    """The options of each command, which is imported when they are asked for."""

    def __init__(self, first: str) -> None:
        names = [name for name in COMMANDS if name not in UNSETTABLE]
        self._names = sorted(names, key=lambda name: name != first)
        self._found: dict[str, Options] = {}

    def __getitem__(self, name: str) -> Options:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._found:
            self._found[name] = options_of(command_of(name))
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def find_option(command: str, name: str) -> click.Option | None:
    """The option that a key of settings means: a command's, or for "" the first of that name."""
    commands = [each for each in schema().commands if command in ("", each)]
    options = (option for each in commands for option in settable(command_of(each)))
    return next((option for option in options if name_of(option) == name), None)


def options_of(command: click.Command) -> Options:
    """What can be set for one command: its options, by their names on the command line."""
    found = (_option(each) for each in settable(command))
    return {option.name: option for option in found}


def settable(command: click.Command) -> list[click.Option]:
    """The options of a command that have a value, and are not only another's old spelling."""
    return [
        each
        for each in command.params
        if isinstance(each, click.Option) and each.expose_value and not each.hidden
    ]


def name_of(option: click.Option) -> str:
    """An option's name on the command line, without the dashes."""
    return next(word[2:] for word in option.opts if word.startswith("--"))


def _option(option: click.Option) -> Option:
    kind = option.type
    return Option(
        name=name_of(option),
        kind=_kind(option),
        read=functools.partial(_read, option),
        refusal=functools.partial(trust.refusal, name_of(option)),
        choices=tuple(kind.choices) if isinstance(kind, click.Choice) else (),
        minimum=getattr(kind, "min", None),
        multiple=option.multiple,
        required=option.required,
        is_path=isinstance(kind, click.Path | click.File),
        default=_default(option),
        help=option.help or "",
    )


def _kind(option: click.Option) -> Kind:
    if option.count or isinstance(option.type, click.types.IntParamType):
        return Kind.INTEGER
    if option.is_flag and option.is_bool_flag:
        return Kind.BOOLEAN
    if isinstance(option.type, click.types.FloatParamType):
        return Kind.NUMBER
    return Kind.STRING


def _default(option: click.Option) -> Any:
    """What it is built with; None for nothing. What click has for "not given" is not for others."""
    value = option.get_default(click.Context(click.Command(None)), call=True)
    if option.is_flag and option.is_bool_flag:
        return bool(value is True)
    return value if isinstance(value, str | int | float | tuple | list) else None


def _read(option: click.Option, texts: tuple[str, ...]) -> Any:
    """What click would take these texts for; raises ValueError. `callback`s are only asked."""
    context = click.Context(click.Command(None))
    if len(texts) != 1 and not option.multiple:
        raise ValueError("There is to be one value.")
    try:
        values = tuple(option.type.convert(text, option, context) for text in texts)
        value: Any = values if option.multiple else values[0]
        if option.callback is not None:
            option.callback(context, option, value)
        if isinstance(option, Checked):
            option.check(value)
    except click.BadParameter as error:
        raise ValueError(_what_is_wrong(option, texts, error.message)) from None
    except TowlineError as error:
        raise ValueError(error.summary) from None
    return value


def _what_is_wrong(option: click.Option, texts: tuple[str, ...], message: str) -> str:
    """As click says it; but with the nearest choice, and no list of the words for yes."""
    if isinstance(option.type, click.Choice):
        near = nearest(texts[0], set(option.type.choices))
        return f"{message} Did you mean '{near}'?" if near else message
    if isinstance(option.type, click.types.BoolParamType):
        return f"'{texts[0]}' is neither true nor false."
    return message.replace(" range.", ".")
