"""Read kubeconfig files and merge several into one, as kubectl does.

Nothing is resolved here: :mod:`towline.kube.config` picks a context out of the result. See
https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from towline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Entry:
    """One named cluster, user or context, with typed access to its fields.

    Each getter raises ConfigError, which names the entry and its file, when the field is
    there with another type; an absent field is empty.
    """

    kind: str
    name: str
    file: Path
    values: Mapping[str, Any] = field(repr=False)

    @property
    def label(self) -> str:
        """For messages: `the user "dev" in /home/me/.kube/config`."""
        return f'the {self.kind} "{self.name}" in {self.file}'

    def text(self, key: str) -> str:
        """A string."""
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(key, "is not text", "Put it in quotes")
        return value

    def flag(self, key: str) -> bool:
        """A boolean."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "is neither true nor false")
        return bool(value)

    def data(self, key: str) -> bytes:
        """Bytes written in base64."""
        text = "".join(self.text(key).split())
        try:
            return base64.b64decode(text, validate=True)
        except ValueError as error:
            raise self.wrong(
                key,
                f"is not base64 ({error})",
                f"Encode it, or name a file with {key.removesuffix('-data')} instead",
            ) from error

    def path(self, key: str) -> Path | None:
        """A file's path, relative ones taken from the directory of the kubeconfig."""
        text = self.text(key)
        return _absolute(self.file.parent / text) if text else None

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise self.wrong(key, "is not a list of texts")
        return tuple(value)

    def section(self, key: str) -> Entry | None:
        """A mapping, to be read in the same way; None when absent."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(key, "is not a mapping")
        return Entry(self.kind, self.name, self.file, value)

    def sections(self, key: str) -> tuple[Entry, ...]:
        """A list of mappings."""
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list | tuple) or not all(isinstance(v, dict) for v in value):
            raise self.wrong(key, "is not a list of mappings")
        return tuple(Entry(self.kind, self.name, self.file, v) for v in value)

    def wrong(self, key: str, what: str, hint: str = "") -> ConfigError:
        """The error for a field that cannot be used."""
        return ConfigError(f"The field {key} of {self.label} {what}", hint)


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """What one or several kubeconfig files say together.

    `files` are those that were read, `missing` those that were named and are not there.
    """

    files: tuple[Path, ...] = ()
    missing: tuple[Path, ...] = ()
    clusters: Mapping[str, Entry] = field(default_factory=dict)
    users: Mapping[str, Entry] = field(default_factory=dict)
    contexts: Mapping[str, Entry] = field(default_factory=dict)
    current_context: str = ""

    @property
    def label(self) -> str:
        """For messages: the files' paths."""
        return ", ".join(str(path) for path in self.files or self.missing)


def load(explicit: str | Path | None, environ: Mapping[str, str]) -> Kubeconfig:
    """Read the kubeconfig that a command started with `environ` should use.

    `explicit` (--kubeconfig) stands alone and must be there; "" is none. Otherwise $KUBECONFIG
    names files, of which those that are missing are skipped, and without it ~/.kube/config is
    read. Raises ConfigError for a file that cannot be read or is no kubeconfig.
    """
    if explicit:
        path = _absolute(Path(explicit))
        if not path.exists():
            raise ConfigError(
                f"There is no kubeconfig file {path}",
                "Check the path that --kubeconfig or a setting gives",
            )
        return merge([path])
    named = [part for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if not named:
        return merge([_home(environ) / ".kube" / "config"])
    return merge(_absolute(Path(part)) for part in dict.fromkeys(named))


def merge(paths: Iterable[Path]) -> Kubeconfig:
    """Merge files: of entries of one name, and of current contexts, the first one counts."""
    files: list[Path] = []
    missing: list[Path] = []
    found: dict[str, dict[str, Entry]] = {"cluster": {}, "user": {}, "context": {}}
    current_context = ""
    for path in paths:
        document = _read(path)
        if document is None:
            missing.append(path)
            continue
        files.append(path)
        for kind, entries in found.items():
            for name, entry in _entries(path, document, kind).items():
                entries.setdefault(name, entry)
        top = Entry("file", path.name, path, document)
        current_context = current_context or top.text("current-context")
    return Kubeconfig(
        files=tuple(files),
        missing=tuple(missing),
        clusters=found["cluster"],
        users=found["user"],
        contexts=found["context"],
        current_context=current_context,
    )


def _entries(path: Path, document: Mapping[str, Any], kind: str) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for item in Entry("file", path.name, path, document).sections(f"{kind}s"):
        name = item.text("name")
        values = item.section(kind)
        if name in entries:
            raise ConfigError(
                f'The kubeconfig {path} has two {kind}s named "{name}"', "Rename or remove one"
            )
        entries[name] = Entry(kind, name, path, values.values if values else {})
    return entries


def _read(path: Path) -> Mapping[str, Any] | None:
    """One file's content; None when there is no such file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(
            f"The kubeconfig {path} cannot be read: {error.strerror}",
            "Check its owner and mode, or name another file with --kubeconfig or KUBECONFIG",
        ) from error
    return parse(content, path)


def parse(content: bytes, path: Path) -> Mapping[str, Any]:
    """Parse a kubeconfig's text; `path` is for messages. Raises ConfigError."""
    try:
        document = yaml.load(content, Loader=_loader())  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        why = getattr(error, "problem", None) or "it is not text in UTF-8"
        raise ConfigError(
            f"The kubeconfig {path} is not valid YAML{where}: {why}",
            "Correct the file, or name another with --kubeconfig or KUBECONFIG",
        ) from error
    if document is None:
        return {}
    if not isinstance(document, dict) or (
        document.get("apiVersion") not in (None, "", "v1")
        or document.get("kind") not in (None, "", "Config")
    ):
        raise ConfigError(
            f"The file {path} is not a kubeconfig (kind: Config, apiVersion: v1)",
            "Name another file with --kubeconfig or KUBECONFIG",
        )
    return document


_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+|0[0-7]+)$"),
    "tag:yaml.org,2002:float": re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$"),
}


def _loader() -> Any:
    """A YAML loader for what Kubernetes takes from YAML: the types of JSON.

    YAML 1.1 as PyYAML knows it also has dates and numbers to the base of sixty, as which
    ordinary names would be read.
    """
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    # Derived from a safe loader: it makes nothing but plain values.
    loader: Any = type("_Loader", (base,), {"yaml_implicit_resolvers": {}})
    for first, resolvers in base.yaml_implicit_resolvers.items():
        for tag, pattern in resolvers:
            if tag.endswith(":timestamp"):
                continue
            loader.add_implicit_resolver(tag, _NUMBERS.get(tag, pattern), [first])
    return loader


def _absolute(path: Path) -> Path:
    # Not Path.resolve(): what is relative to a symbolic link stays so, as with kubectl.
    return Path(os.path.abspath(path))  # noqa: PTH100


def _home(environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME")
    return Path(home) if home else Path.home()
