"""Changes a file of settings as its user would: one value, and the rest stays as it is written.

What has been changed is read again. If it does not say what it should, as the file is written in
a way that this does not follow, it is written anew as a whole, without comments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from towline.settings.document import Leaf, Section, compose, parse
from towline.settings.layers import Key

_COMMENT = re.compile(r"(?m)(?:^|[ \t])#")
_INDENT = "  "
_ONE_LINE: dict[str, Any] = {"width": float("inf"), "allow_unicode": True}
_STR = "tag:yaml.org,2002:str"


@dataclass(frozen=True, slots=True)
class Edited:
    """The new text, and whether it has lost comments of the old one."""

    text: str
    lost_comments: bool = False


def put(text: str, key: Key, value: Any, file: str) -> Edited:
    """Say `value` under a key. Raises SettingsError when `text` is not in order."""
    return _put(text, key, render(value), file)


def overlay(text: str, upper: str, file: str) -> Edited:
    """Say all that another text says, too. Raises SettingsError when one is not in order."""
    edited = Edited(text)
    for name, value in _root(upper, file).value:
        inner = value.value if isinstance(value, yaml.MappingNode) else [(name, value)]
        for key, each in inner:
            command = name.value if isinstance(value, yaml.MappingNode) else ""
            put_in = _put(edited.text, (command, key.value), _flow(each), file)
            edited = Edited(put_in.text, edited.lost_comments or put_in.lost_comments)
    return edited


def _put(text: str, key: Key, written: str, file: str) -> Edited:
    command, name = key
    root = _root(text, file)
    candidate = _Place(text, root, command).put(name, written)
    new = compose(written, file)
    section = _section(root, command) if command else root
    if section is None:
        section = yaml.MappingNode("tag:yaml.org,2002:map", [], flow_style=False)
        _set(root, command, section)
    _set(section, name, new)
    edited = _settled(text, candidate, root, file)
    # Those in the old value, as a list has them, go with it.
    fewer = len(_COMMENT.findall(edited.text)) < len(_COMMENT.findall(text))
    return Edited(edited.text, edited.lost_comments or fewer)


def remove(text: str, key: Key, file: str) -> Edited:
    """Say nothing under a key any more. Raises SettingsError when `text` is not in order."""
    command, name = key
    root = _root(text, file)
    section = _section(root, command) if command else root
    if section is None or name not in _names(section):
        return Edited(text)
    if command and len(section.value) == 1:
        return remove(text, ("", command), file)
    candidate = _Place(text, root, command).remove(name)
    section.value = [(key, value) for key, value in section.value if key.value != name]
    return _settled(text, candidate, root, file)


def render(value: Any) -> str:
    """A value as YAML on one line; a tuple is a list."""
    plain = list(value) if isinstance(value, tuple) else value
    text: str = yaml.safe_dump(plain, default_flow_style=True, **_ONE_LINE)
    return text.removesuffix("...\n").strip()


def _flow(leaf: yaml.Node) -> str:
    """A value that is written somewhere, on one line."""
    if isinstance(leaf, yaml.CollectionNode):
        leaf.flow_style = True
    elif isinstance(leaf, yaml.ScalarNode) and leaf.style in ("|", ">"):
        leaf.style = '"'
    text: str = yaml.serialize(leaf, Dumper=yaml.SafeDumper, **_ONE_LINE)
    return text.removesuffix("...\n").strip()


def _settled(before: str, candidate: str, root: yaml.MappingNode, file: str) -> Edited:
    """The text that was changed in place, if that says the same as the changed nodes."""
    anew: str = (
        yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True) if root.value else ""
    )
    try:
        is_right = _said(parse(candidate, file)) == _said(parse(anew, file))
    except Exception:  # noqa: BLE001 (whatever it is, it is not what was wanted)
        is_right = False
    return Edited(candidate) if is_right else Edited(anew, lost_comments="#" in before)


def _said(section: Section) -> dict[str, Any]:
    """Without the lines."""
    return {
        name: (member.texts, member.is_list) if isinstance(member, Leaf) else _said(member)
        for name, member in section.members.items()
    }


class _Place:
    """The text of one section's names, or of all, in a text whose nodes are known."""

    def __init__(self, text: str, root: yaml.MappingNode, command: str) -> None:
        self._text = text
        self._root = root
        self._command = command
        self._section = _section(root, command) if command else root

    def put(self, name: str, written: str) -> str:
        if self._section is None:
            return self._with_section(name, written)
        for key, value in self._section.value:
            if key.value == name:
                rest = self._text[_end(value) :]
                return f"{self._text[: key.end_mark.index]}: {written}{rest}"
        if not self._section.value:
            return f"{_ended(self._text)}{name}: {written}\n"
        leaves = [pair for pair in self._section.value if not isinstance(pair[1], yaml.MappingNode)]
        first = self._section.value[0][0].start_mark
        line = f"{' ' * first.column}{name}: {written}\n"
        if leaves:
            return self._inserted(self._line_end(_end(leaves[-1][1])), line)
        return self._inserted(self._line_start(first.index), line)

    def remove(self, name: str) -> str:
        assert self._section is not None
        for key, value in self._section.value:
            if key.value == name:
                start = self._line_start(key.start_mark.index)
                return self._text[:start] + self._text[self._line_end(_end(value)) :]
        return self._text

    def _with_section(self, name: str, written: str) -> str:
        """With a new section, or the first line of one that has been empty."""
        line = f"{_INDENT}{name}: {written}\n"
        for key, _ in self._root.value:
            if key.value == self._command:
                return self._inserted(self._line_end(key.end_mark.index), line)
        return f"{_ended(self._text)}{self._command}:\n{line}"

    def _inserted(self, at: int, line: str) -> str:
        return _ended(self._text[:at]) + line + self._text[at:]

    def _line_start(self, at: int) -> int:
        return self._text.rfind("\n", 0, at) + 1

    def _line_end(self, at: int) -> int:
        """Where the next line begins."""
        return self._text.find("\n", at) + 1 or len(self._text)


def _ended(text: str) -> str:
    """With its last line ended."""
    return text if not text or text.endswith("\n") else f"{text}\n"


def _end(node: yaml.Node) -> int:
    """Where the text of a node ends; marks of blocks are only where something else begins."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    end: int = node.end_mark.index
    return end


def _root(text: str, file: str) -> yaml.MappingNode:
    """The nodes of a text, each its own: what YAML has as an alias is changed in one place only."""
    parse(text, file)
    node = compose(text, file)
    if not isinstance(node, yaml.MappingNode):
        return yaml.MappingNode("tag:yaml.org,2002:map", [], flow_style=False)
    unshared = _unshared(node)
    assert isinstance(unshared, yaml.MappingNode)
    return unshared


def _unshared(node: yaml.Node) -> yaml.Node:
    if isinstance(node, yaml.ScalarNode):
        return yaml.ScalarNode(node.tag, node.value, node.start_mark, node.end_mark, node.style)
    if isinstance(node, yaml.MappingNode):
        pairs = [(_unshared(key), _unshared(each)) for key, each in node.value]
        return yaml.MappingNode(node.tag, pairs, node.start_mark, node.end_mark, node.flow_style)
    assert isinstance(node, yaml.SequenceNode)
    items = [_unshared(each) for each in node.value]
    return yaml.SequenceNode(node.tag, items, node.start_mark, node.end_mark, node.flow_style)


def _names(section: yaml.MappingNode) -> list[str]:
    return [key.value for key, _ in section.value]


def _section(root: yaml.MappingNode, command: str) -> yaml.MappingNode | None:
    for key, value in root.value:
        if key.value == command and isinstance(value, yaml.MappingNode):
            return value
    return None


def _set(section: yaml.MappingNode, name: str, new: yaml.Node | None) -> None:
    for number, (key, _) in enumerate(section.value):
        if key.value == name:
            section.value[number] = (key, new)
            return
    section.value.append((yaml.ScalarNode(_STR, name), new))
