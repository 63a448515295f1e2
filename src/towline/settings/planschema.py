"""The form of `tow up`'s file, for editors: a JSON Schema (https://json-schema.org/draft-07)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from towline.settings.plan import COMMAND, NAME, RUN, Form, Forms
from towline.settings.schema import Kind, Option

# What editors and their language servers know best.
_DIALECT = "http://json-schema.org/draft-07/schema#"
_PROGRAM = {
    "type": "array",
    "items": {"type": ["string", "number"]},
    "minItems": 1,
    "description": "A program of this machine and its arguments, which no shell reads.",
}

Schema = dict[str, Any]


def json_schema(forms: Forms) -> Schema:
    """The schema of a file with entries of these forms."""
    common: dict[str, Option] = {}
    for form in forms.values():
        for name, option in form.options.items():
            choices = dict.fromkeys([*common.get(name, option).choices, *option.choices])
            common[name] = replace(option, choices=tuple(choices), required=False)
    return {
        "$schema": _DIALECT,
        "title": "What 'tow up' brings up",
        "type": "object",
        "properties": {
            **{name: _entries(name, form) for name, form in forms.items()},
            RUN: _one_or_several({"$ref": f"#/definitions/{RUN}"}),
            **{name: _option(common[name], of_all=True) for name in sorted(common)},
        },
        "additionalProperties": False,
        "definitions": {
            **{name: _entry(name, form) for name, form in forms.items()},
            RUN: _program_alone(),
        },
    }


def _entries(name: str, form: Form) -> Schema:
    one = {"$ref": f"#/definitions/{name}"}
    needs_nothing = not form.arguments and not any(map(_is_required, form.options.values()))
    return _one_or_several(one, *([{"type": "null"}] if needs_nothing else []))


def _one_or_several(one: Schema, *others: Schema) -> Schema:
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}, *others]}


def _entry(command: str, form: Form) -> Schema:
    properties = {name: _argument(command, name) for name in form.arguments}
    properties |= {name: _arguments(command, name) for name in form.several}
    properties |= {name: _option(option) for name, option in sorted(form.options.items())}
    required = [option.name for option in form.options.values() if option.required]
    if form.takes_program:
        properties[RUN] = _PROGRAM
    return _object(f"'tow {command}' with these options.", properties, *form.arguments, *required)


def _argument(command: str, name: str) -> Schema:
    return {"type": "string", "description": f"{name.upper()} of 'tow {command}'."}


def _arguments(command: str, name: str) -> Schema:
    """One or several, which may look like numbers."""
    one: Schema = {"type": ["string", "number"]}
    about = f"{name.upper()} of 'tow {command}'."
    return {"description": about, "anyOf": [one, {"type": "array", "items": one}]}


def _program_alone() -> Schema:
    name = {"type": "string", "description": "What it is called in what 'tow up' shows."}
    return _object(
        "A program that runs when all the rest is there.", {NAME: name, COMMAND: _PROGRAM}, COMMAND
    )


def _object(about: str, properties: Mapping[str, Schema], *required: str) -> Schema:
    return {
        "type": "object",
        "description": about,
        "properties": dict(properties),
        "additionalProperties": False,
        **({"required": list(required)} if required else {}),
    }


def _option(option: Option, *, of_all: bool = False) -> Schema:
    about = f"{option.help} For all entries that have it." if of_all else option.help
    one = _one(option)
    if option.multiple:
        return {"description": about, "anyOf": [one, {"type": "array", "items": one}]}
    default = {} if option.default in (None, False) or of_all else {"default": option.default}
    return {"description": about, **one, **default}


def _one(option: Option) -> Schema:
    """One value of an option. What is a text may look like a number, such as a port."""
    if option.choices:
        return {"enum": list(option.choices)}
    kind: Any = ["string", "number"] if option.kind is Kind.STRING else option.kind.value
    return {"type": kind, **({"minimum": option.minimum} if option.minimum is not None else {})}


def _is_required(option: Option) -> bool:
    return option.required
