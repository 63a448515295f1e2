"""All settings together, from all the places where they may be written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path

from towline.settings import distribution, document, environment
from towline.settings.check import Checked, check, unknown_profile
from towline.settings.distribution import Distribution
from towline.settings.document import Section
from towline.settings.layers import Contents, Layer, Value, resolve
from towline.settings.own import NO_PROFILE, OWN, from_registry
from towline.settings.places import Places
from towline.settings.problem import Problem, SettingsError
from towline.settings.schema import Option, Schema

_IMAGE = "image"


@dataclass(slots=True)
class Settings:
    """What can be used of all layers, the weakest first, and what is wrong with the rest.

    `profile` is the one that counts, "" for none.
    """

    layers: list[Contents] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    distribution: Distribution | None = None
    profile: str = ""

    def of(self, schema: Schema, command: str) -> dict[str, Value]:
        """The values of all options of a command, by their names."""
        return {
            name: self.value(command, option) for name, option in schema.commands[command].items()
        }

    def value(self, command: str, option: Option) -> Value:
        """That of an option of a command, or with "" what is said of it for all commands."""
        value = resolve(self.layers, command, option)
        is_image = option.name == _IMAGE or option.name.endswith(f"-{_IMAGE}")
        return self._mirrored(value, option) if is_image and value.is_built_in else value

    def raise_problems(self) -> None:
        """Raise SettingsError if anything is wrong."""
        if self.problems:
            raise SettingsError(self.problems[0], len(self.problems) - 1)

    def _mirrored(self, value: Value, image: Option) -> Value:
        registry = resolve(self.layers, "", OWN["registry"])
        if registry.value is None or not value.value:
            return value
        mirrored = from_registry(value.value, registry.value)
        return Value(mirrored, registry.origin, ("", image.name), is_built_in=True)


def load(
    places: Places,
    everything: Schema,
    *,
    environ: Mapping[str, str],
    running: Schema,
    points: Iterable[EntryPoint],
    profile: str | None = None,
) -> Settings:
    """Read all layers. `profile` is one for once, NO_PROFILE for none.

    The environment is read for the command that is `running` only, files are checked against
    `everything` that can be set.
    """
    loading = _Loading(places, everything)
    loading.distribution(points)
    loading.file(Layer.TEAM, places.team)
    loading.file(Layer.USER, places.user)
    loading.environment(environment.read(running, environ, everything), profile)
    return loading.done


class _Loading:
    def __init__(self, places: Places, everything: Schema) -> None:
        self.done = Settings()
        self._places = places
        self._everything = everything

    def distribution(self, points: Iterable[EntryPoint]) -> None:
        try:
            found = distribution.find(self._places.machine, points)
        except SettingsError as error:
            self.done.problems.append(error.problem)
            return
        if found is not None:
            self.done.distribution = found
            self._check(Layer.DISTRIBUTION, found.options, found.file, found.base)

    def file(self, layer: Layer, path: Path | None) -> None:
        if path is None:
            return
        try:
            section = document.load(path)
        except SettingsError as error:
            self.done.problems.append(error.problem)
            return
        self._check(layer, section, str(path), path.parent)

    def environment(self, read: Checked, profile: str | None) -> None:
        """The environment, below it the profile that it may name, if no flag names one."""
        self.done.problems += read.problems
        contents = Contents(Layer.ENVIRONMENT, read.entries)
        self._profile(contents, profile)
        self.done.layers.append(contents)

    def _profile(self, variables: Contents, flag: str | None) -> None:
        chosen = resolve([*self.done.layers, variables], "", OWN["profile"])
        name = chosen.value if flag is None else flag
        if not name or name == NO_PROFILE:
            return
        self.done.profile = name
        names = self._places.profile_names()
        if name in names:
            self.file(Layer.PROFILE, self._places.profile(name))
            return
        written = (chosen.origin.where, chosen.origin.line) if flag is None else ("--profile", 0)
        self.done.problems.append(Problem(*written, *unknown_profile(name, names)))

    def _check(self, layer: Layer, section: Section, file: str, base: Path) -> None:
        if not section.members:
            return
        checked = check(section, self._everything, layer, file, base)
        self.done.layers.append(Contents(layer, checked.entries))
        self.done.problems += checked.problems
