"""A file of settings: YAML with the lines on which all is written, before anybody knows its sense.

Scalars are kept as written, since it is the option that says what they are: `no` may be a name,
and `8080:53` is no number in base 60 (https://yaml.org/type/).
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from towline.settings.problem import Problem, SettingsError

# A clone may have a link to whatever it wants.
_MOST_BYTES = 1 << 20
_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value, or a list of them (`is_list`), as written; `texts` is None for null."""

    texts: tuple[str, ...] | None
    line: int
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Names, each with what it has."""

    members: Mapping[str, Leaf | Section] = field(default_factory=dict)
    line: int = 0


def load(path: Path) -> Section:
    """Read a file; nothing is in one that is not there. Raises SettingsError."""
    return parse(read_text(path), str(path))


def read_text(path: Path) -> str:
    """A file's text, "" if it is not there. Raises SettingsError, also for what has no end."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            what = f"This is no file of at most {_MOST_BYTES >> 20} MiB, and is not read."
            raise SettingsError(Problem(str(path), 0, what))
        return path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise SettingsError(Problem(str(path), 0, f"This file cannot be read: {why}.")) from error


def parse(text: str, file: str) -> Section:
    """Read the text of `file`. Raises SettingsError when it is not YAML, or no names and values."""
    root = compose(text, file)
    if root is None or root.tag == _NULL:
        return Section()
    if not isinstance(root, yaml.MappingNode):
        raise _error(file, root, "Names and values are needed here, such as 'namespace: dev'.")
    return _section(root, file, depth=0)


def compose(text: str, file: str) -> yaml.Node | None:
    """The one document of a YAML text, as PyYAML's nodes. Raises SettingsError."""
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(filter(None, (error.context, error.problem)))
        line = mark.line + 1 if mark else 0
        raise SettingsError(Problem(file, line, f"This is not YAML: {what}.")) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SettingsError(Problem(file, line, f"This is not YAML: {error.reason}.")) from error
    except RecursionError:
        raise SettingsError(Problem(file, 0, "This is nested too deeply.")) from None


def _section(node: yaml.MappingNode, file: str, depth: int) -> Section:
    members: dict[str, Leaf | Section] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _error(file, key, "A name is needed here.")
        if key.value in members:
            before = members[key.value].line
            raise _error(file, key, f"'{key.value}' is there twice, first in line {before}.")
        members[key.value] = _member(key, value, file, depth)
    return Section(members, node.start_mark.line + 1)


def _member(key: yaml.Node, value: yaml.Node, file: str, depth: int) -> Leaf | Section:
    line = key.start_mark.line + 1
    if isinstance(value, yaml.MappingNode):
        if depth:
            raise _error(file, value, "Names within names are too many here.")
        inner = _section(value, file, depth + 1)
        return Section(inner.members, line)
    if isinstance(value, yaml.SequenceNode):
        return Leaf(tuple(_text(item, file) for item in value.value), line, is_list=True)
    return Leaf(None if value.tag == _NULL else (value.value,), line)


def _text(item: yaml.Node, file: str) -> str:
    if not isinstance(item, yaml.ScalarNode) or item.tag == _NULL:
        raise _error(file, item, "Each line of a list needs one value.")
    text: str = item.value
    return text


def _error(file: str, node: yaml.Node, what: str) -> SettingsError:
    return SettingsError(Problem(file, node.start_mark.line + 1, what))
