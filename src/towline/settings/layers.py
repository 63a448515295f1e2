"""Where settings come from, from the weakest to the strongest, and which of several counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from towline.settings.problem import place
from towline.settings.schema import Option

# A command, "" for all that have the option, and the option's name.
Key = tuple[str, str]


def text_of(key: Key) -> str:
    """A key as it is written outside of files: `exchange.mode`, or `mode` for all."""
    return ".".join(filter(None, key))


def key_of(text: str) -> Key:
    """The key that is written so."""
    command, _, name = text.rpartition(".")
    return command, name


class Layer(Enum):
    """Each one counts more than those before it; flags, which count most, are not settings."""

    BUILT_IN = "built-in"
    DISTRIBUTION = "distribution"
    TEAM = "team"
    USER = "user"
    PROFILE = "profile"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value is written: in a file on a line (from 1 on), or in a variable."""

    layer: Layer
    where: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.layer.value}: {place(self.where, self.line)}" if self.where else "built-in"


@dataclass(frozen=True, slots=True)
class Written:
    """What a layer says of an option, as written; `texts` None is for what it is built with."""

    texts: tuple[str, ...] | None
    origin: Origin


@dataclass(frozen=True, slots=True)
class Value:
    """What an option is unless a flag says otherwise; None for nothing.

    `is_built_in` says whether it is what it is built with; that may be by order of a layer. `key`
    is under what that layer says so.
    """

    value: Any
    origin: Origin
    key: Key | None = None
    is_built_in: bool = False


@dataclass(frozen=True, slots=True)
class Contents:
    """What one layer says."""

    layer: Layer
    entries: Mapping[Key, Written] = field(default_factory=dict)


def resolve(layers: Sequence[Contents], command: str, option: Option) -> Value:
    """The value of a command's option: the last layer's that has one, the first is the weakest.

    Within a layer, what is written for the command goes before what is for all commands. The
    latter counts for a command only if the value is one of its option's.
    """
    for layer in reversed(layers):
        for key in ((command, option.name), ("", option.name)):
            written = layer.entries.get(key)
            if written is None:
                continue
            if written.texts is None:
                return Value(option.default, written.origin, key, is_built_in=True)
            value = usable(option, written.texts)
            if value is not None:
                return Value(value, written.origin, key)
    return Value(option.default, Origin(Layer.BUILT_IN), is_built_in=True)


def usable(option: Option, texts: tuple[str, ...]) -> Any:
    """What an option makes of these texts; None if it makes nothing of them."""
    try:
        return option.read(texts)
    except ValueError:
        return None
