"""The kinds of patch that an API server takes, as the fake one applies them.

A strategic merge here knows one rule of the many: lists of named things merge by `name`.
"""

from __future__ import annotations

import copy
from typing import Any


def apply(content_type: str, value: dict[str, Any], change: Any) -> Any:
    """The changed copy of an object; raises ValueError for a patch that does not fit."""
    if content_type == "application/json-patch+json":
        return json_patch(value, change)
    if content_type == "application/merge-patch+json":
        return merge(value, change)
    if content_type in {"application/strategic-merge-patch+json", "application/apply-patch+yaml"}:
        return strategic(value, change)
    raise ValueError(f"unsupported media type {content_type}")


def merge(value: Any, change: Any) -> Any:
    """RFC 7386."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    result = copy.deepcopy(value) if isinstance(value, dict) else {}
    for key, part in change.items():
        if part is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), part)
    return result


def strategic(value: Any, change: Any) -> Any:
    """Like RFC 7386, but lists of things with names merge by name."""
    if isinstance(change, list) and isinstance(value, list) and _named(change) and _named(value):
        parts = {part["name"]: part for part in value}
        for part in change:
            parts[part["name"]] = strategic(parts.get(part["name"]), part)
        return list(parts.values())
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    result = copy.deepcopy(value) if isinstance(value, dict) else {}
    for key, part in change.items():
        if part is None:
            result.pop(key, None)
        else:
            result[key] = strategic(result.get(key), part)
    return result


def _named(parts: list[Any]) -> bool:
    return all(isinstance(part, dict) and "name" in part for part in parts)


def json_patch(value: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """RFC 6902, without move and copy."""
    root = copy.deepcopy(value)
    for operation in operations:
        *parents, last = _pointer(operation["path"])
        target: Any = root
        for key in parents:
            target = target[int(key) if isinstance(target, list) else key]
        _operate(operation, target, last)
    return root


def _operate(operation: dict[str, Any], target: Any, last: str) -> None:
    name, new = operation["op"], operation.get("value")
    if isinstance(target, list) and name == "add":
        target.insert(len(target) if last == "-" else int(last), new)
        return
    key: Any = int(last) if isinstance(target, list) else last
    if name == "add":
        target[key] = new
        return
    if isinstance(target, dict) and key not in target:
        raise ValueError(f"the path {operation['path']} does not exist")
    if name == "test" and target[key] != new:
        raise ValueError(f"testing path {operation['path']} value failed")
    if name == "replace":
        target[key] = new
    elif name == "remove":
        del target[key]
    elif name != "test":
        raise ValueError(f"unexpected operation {name}")


def _pointer(path: str) -> list[str]:
    """RFC 6901."""
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
