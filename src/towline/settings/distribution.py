"""What a company ships with towline: a package that says so by an entry point, or a file in /etc.

The entry point is in the group `towline.distribution`. It is a mapping, or a file with YAML (as
`importlib.resources.files` gives it), or a function that returns one of these.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import yaml

from towline.settings.document import Leaf, Section, parse, read_text
from towline.settings.places import GROUP
from towline.settings.problem import Problem, SettingsError

#: What a distribution alone can say.
ITS_OWN = frozenset({"help", "support", "namespaces"})
_RULES = {"allowed", "refused"}


@dataclass(frozen=True, slots=True)
class Distribution:
    """What it says beside options: a text for `tow --help`, whom to ask, where to work.

    `allowed` and `refused` are patterns of namespaces' names, as a shell has them; without
    `allowed`, all are that are not refused. `options` is the rest, from `file`.
    """

    name: str
    file: str
    base: Path
    options: Section
    help: str = ""
    support: str = ""
    allowed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def permits(self, namespace: str) -> bool:
        """Whether one may work in a namespace."""
        if any(fnmatch.fnmatchcase(namespace, each) for each in self.refused):
            return False
        return not self.allowed or any(
            fnmatch.fnmatchcase(namespace, each) for each in self.allowed
        )


def installed() -> list[EntryPoint]:
    """The entry points of the packages that are installed beside this one."""
    return list(entry_points(group=GROUP))


def find(machine: Path, points: Iterable[EntryPoint]) -> Distribution | None:
    """The one that is there, or None. Raises SettingsError when there are two, or one is broken."""
    points = list(points)
    names = [_package(point) for point in points]
    there = machine.exists()
    if len(points) + there > 1:
        all_names = " and ".join([*names, *([str(machine)] if there else [])])
        what = f"There are several distributions, {all_names}, and only one can count."
        raise SettingsError(Problem("distribution", 0, what, "Uninstall or remove all but one."))
    if points:
        return _read(*_from_package(points[0]), names[0])
    if there:
        return _read(read_text(machine), str(machine), machine.parent, str(machine))
    return None


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _from_package(point: EntryPoint) -> tuple[str, str, Path]:
    """What it says as YAML, where, and the folder from which it names files."""
    try:
        given = point.load()
        if callable(given):
            given = given()
        if isinstance(given, Mapping):
            return yaml.safe_dump(_plain(given), sort_keys=False), point.value, Path("/")
        return given.read_text(encoding="utf-8"), str(given), Path(str(given)).parent
    except Exception as error:  # it is somebody else's program
        what = f"The distribution {_package(point)} cannot be used: {type(error).__name__}: {error}"
        hint = f"Correct {point.value}, or uninstall the package."
        raise SettingsError(Problem(point.value, 0, what, hint)) from error


def _plain(given: Any) -> Any:
    """With dictionaries and lists only, which YAML knows."""
    if isinstance(given, Mapping):
        return {str(name): _plain(each) for name, each in given.items()}
    return list(given) if isinstance(given, tuple | list | set | frozenset) else given


def _read(text: str, file: str, base: Path, name: str) -> Distribution:
    members = dict(parse(text, file).members)
    rules = members.pop("namespaces", Section())
    if not isinstance(rules, Section) or not rules.members.keys() <= _RULES:
        what = "'namespaces' needs the names 'allowed' and 'refused', each with a list of patterns."
        raise SettingsError(Problem(file, rules.line, what))
    plain = Distribution(name, file, base, Section())
    return replace(
        plain,
        help=_one(members.pop("help", None), file),
        support=_one(members.pop("support", None), file),
        allowed=_texts(rules.members.get("allowed"), file),
        refused=_texts(rules.members.get("refused"), file),
        options=Section(members),
    )


def _one(member: Leaf | Section | None, file: str) -> str:
    if member is not None and isinstance(member, Leaf) and member.is_list:
        raise SettingsError(Problem(file, member.line, "A text is needed here, not a list."))
    return "".join(_texts(member, file))


def _texts(member: Leaf | Section | None, file: str) -> tuple[str, ...]:
    if member is None:
        return ()
    if isinstance(member, Section):
        raise SettingsError(Problem(file, member.line, "No names are needed here, but a value."))
    return member.texts or ()
