"""Label and field selectors, as the fake API server evaluates them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Matcher = Callable[[dict[str, Any]], bool]


def matcher(labels: str, fields: str) -> Matcher:
    """Whether an object fits both selectors; raises ValueError for one that cannot be read."""
    tests = [_label_test(part) for part in re.split(r",(?![^(]*\))", labels) if part]
    tests += [_field_test(part) for part in fields.split(",") if part]
    return lambda value: all(test(value) for test in tests)


def _label_test(part: str) -> Matcher:
    part = part.strip()
    if found := re.fullmatch(r"(\S+) (in|notin) \((.*)\)", part):
        key, wanted = found[1], {text.strip() for text in found[3].split(",")}
        inside = found[2] == "in"
        return lambda value: (_labels(value).get(key) in wanted) is inside
    if found := re.fullmatch(r"([^=!]+)(==|=|!=)([^=!]*)", part):
        key, text, equal = found[1], found[3], found[2] != "!="
        return lambda value: (_labels(value).get(key) == text) is equal
    if found := re.fullmatch(r"(!?)([\w./-]+)", part):
        key, present = found[2], not found[1]
        return lambda value: (key in _labels(value)) is present
    raise ValueError(f"unable to parse requirement: {part}")


def _field_test(part: str) -> Matcher:
    found = re.fullmatch(r"([\w.]+)(==|=|!=)(.*)", part)
    if not found:
        raise ValueError(f"invalid selector: {part}")
    path, text, equal = found[1].split("."), found[3], found[2] != "!="
    return lambda value: (_field(value, path) == text) is equal


def _labels(value: dict[str, Any]) -> dict[str, str]:
    return value["metadata"].get("labels") or {}


def _field(value: Any, path: list[str]) -> str:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return "" if value is None else str(value)
