"""Settings that are no option of a command."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from towline.settings.schema import Kind, Option, Options

#: The profile for those who want none for once.
NO_PROFILE = "none"
_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_REGISTRY = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9._-]+)*/?")


def read_profile(name: str) -> str:
    """A profile's name. Raises ValueError."""
    if not _PROFILE.fullmatch(name):
        raise ValueError(f"'{name}' is no name of a profile: letters, digits, '.', '_' and '-'.")
    return name


def _read_registry(text: str) -> str:
    if not _REGISTRY.fullmatch(text):
        raise ValueError(f"'{text}' is no registry: HOST[:PORT][/PATH] is, without 'https://'.")
    return text.rstrip("/")


def _option(name: str, read: Callable[[str], str], refusal: str, text: str) -> Option:
    def read_one(texts: tuple[str, ...]) -> Any:
        if len(texts) != 1:
            raise ValueError("There is to be one value.")
        return read(texts[0])

    return Option(name, Kind.STRING, read_one, lambda _: refusal, help=text)


OWN: Options = {
    "profile": _option(
        "profile", read_profile, "it is for you to choose", "The profile that is loaded."
    ),
    "registry": _option(
        "registry",
        _read_registry,
        "what is pulled from there would run in the cluster with your rights",
        "Where the images come from that are built in, instead of their own registries.",
    ),
}


def from_registry(image: str, registry: str) -> str:
    """An image as a mirror has it: with `registry` instead of its own, under the same path."""
    host, slash, path = image.partition("/")
    is_host = bool(slash) and ("." in host or ":" in host or host == "localhost")
    return f"{registry}/{path if is_host else image}"
