"""What is set, as its user is told of it: each value once, with where it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from towline.settings.layers import Key, Layer, Origin, Value
from towline.settings.load import Settings
from towline.settings.own import OWN
from towline.settings.schema import Schema


@dataclass(frozen=True, slots=True)
class Line:
    """A value that counts for a command, or for all that have the option (`key` has "" then)."""

    key: Key
    value: Any
    origin: Origin


def report(settings: Settings, schema: Schema, *, everything: bool) -> list[Line]:
    """All that layers say and that counts anywhere; with `everything`, what is built in, too."""
    found: dict[tuple[Key, Origin], Line] = {}
    for name in [*OWN, *schema.options()]:
        for line in _of_option(settings, schema, name):
            if everything or line.origin.layer is not Layer.BUILT_IN:
                found.setdefault((line.key, line.origin), line)
    return sorted(found.values(), key=lambda line: line.key)


def _of_option(settings: Settings, schema: Schema, name: str) -> Iterator[Line]:
    if name in OWN:
        value = settings.value("", OWN[name])
        yield Line(("", name), value.value, value.origin)
        return
    values = {command: settings.value(command, option) for command, option in schema.having(name)}
    are_alike = len({repr(value.value) for value in values.values()}) == 1
    for command, value in values.items():
        yield Line(_key(command, name, value, are_alike=are_alike), value.value, value.origin)


def _key(command: str, name: str, value: Value, *, are_alike: bool) -> Key:
    """Under what it is said, or might be if it is built in."""
    if value.key is not None:
        return value.key
    return ("" if are_alike else command, name)
