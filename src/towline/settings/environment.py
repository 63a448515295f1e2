"""Settings in the environment: `TOW_EXCHANGE_MODE` for one command, `TOW_MODE` for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from towline.settings.check import Checked, wrong
from towline.settings.layers import Key, Layer, Origin, Written
from towline.settings.own import OWN
from towline.settings.problem import Problem
from towline.settings.schema import Option, Schema, nearest

PREFIX = "TOW_"


def variable(command: str, name: str) -> str:
    """The variable for a command's option, or with "" for that of all commands."""
    words = f"{command} {name}" if command else name
    return PREFIX + words.upper().replace("-", "_").replace(" ", "_")


def read(schema: Schema, environ: Mapping[str, str], everything: Schema | None = None) -> Checked:
    """What the environment says, about these commands only. An empty variable says nothing.

    Several values stand on a line each, or on one line with spaces between. A value for all that
    these cannot have may be for others, of `everything` that can be set.
    """
    done = Checked()
    for key, options in _keys(schema):
        name = variable(*key)
        text = environ.get(name, "").strip()
        if not text:
            continue
        texts = _split(text) if options[0].multiple else (text,)
        fault = wrong(options, texts)
        if fault and not key[0] and everything:
            fault = wrong(dict(everything.having(key[1])).values(), texts)
        if fault:
            done.problems.append(Problem(name, 0, fault, "That is a variable of the environment."))
        else:
            done.entries[key] = Written(texts, Origin(Layer.ENVIRONMENT, name))
    return done


def strangers(schema: Schema, environ: Mapping[str, str]) -> Iterator[str]:
    """What to say of each variable that looks like one of ours, and is none."""
    known = {variable(*key) for key, _ in _keys(schema)}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            near = nearest(name, known)
            yield f"{name} in the environment sets nothing." + (
                f" Did you mean {near}?" if near else ""
            )


def _keys(schema: Schema) -> Iterator[tuple[Key, list[Option]]]:
    """Each key that may be set, and the options that it is for."""
    for name, option in OWN.items():
        yield ("", name), [option]
    for name in schema.options():
        yield ("", name), list(dict(schema.having(name)).values())
    for command, options in schema.commands.items():
        for name, option in options.items():
            yield (command, name), [option]


def _split(text: str) -> tuple[str, ...]:
    lines = [line.strip() for line in text.splitlines()]
    return tuple(filter(None, lines)) if len(lines) > 1 else tuple(text.split())
