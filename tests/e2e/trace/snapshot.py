"""What there is at one moment, as text by view and name; and how two moments differ."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping

View = Mapping[str, str]
"""What a thing is called, and all about it that matters; what is equal has equal text."""

Snapshot = Mapping[str, View]

_SHOWN_LINES = 40
_SHOWN_CHARACTERS = 200


def difference(before: Snapshot, after: Snapshot) -> str:
    """What appeared, vanished and changed, for people; "" when the two are the same."""
    lines: list[str] = []
    for view in sorted({*before, *after}):
        lines += _capped(list(_between(view, before.get(view, {}), after.get(view, {}))))
    return "\n".join(lines)


def counted(lines: Iterable[str]) -> View:
    """Lines as a view; what is there several times is so with its number."""
    return {
        f"{line} ×{number}" if number > 1 else line: ""
        for line, total in Counter(lines).items()
        for number in range(1, total + 1)
    }


def _between(view: str, before: View, after: View) -> Iterable[str]:
    for name in sorted({*before, *after}):
        if name not in after:
            yield f"- {view}: {_shown(name, before[name])}"
        elif name not in before:
            yield f"+ {view}: {_shown(name, after[name])}"
        elif before[name] != after[name]:
            yield f"! {view}: {name} has changed"
            yield from _changes(before[name], after[name])


def _shown(name: str, text: str) -> str:
    first, *others = text.splitlines() or [""]
    more = f" (and {len(others)} more lines)" if others else ""
    return f"{name} {first}{more}".rstrip()


def _changes(before: str, after: str) -> Iterable[str]:
    compared = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    changed = [line for line in compared if not line.startswith(("---", "+++"))]
    yield from (f"    {line[:_SHOWN_CHARACTERS]}" for line in _capped(changed))


def _capped(lines: list[str]) -> list[str]:
    more = len(lines) - _SHOWN_LINES
    return [*lines[:_SHOWN_LINES], *([f"… {more} more lines"] if more > 0 else [])]
