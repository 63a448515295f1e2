"""Something that can be set, made up for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from towline.settings.schema import Kind, Option, Schema


def option(
    name: str, convert: Callable[[str], Any] = str, *, refused: str = "", **attributes: Any
) -> Option:
    def read(texts: tuple[str, ...]) -> Any:
        values = tuple(convert(text) for text in texts)
        return values if attributes.get("multiple") else values[0]

    return Option(name, Kind.STRING, read, lambda _: refused, **attributes)


def one_of(*choices: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in choices:
            raise ValueError(f"'{text}' is none of {choices}.")
        return text

    return convert


SAMPLE = Schema(
    {
        "connect": {
            "namespace": option("namespace"),
            "grace": option("grace", int, default=60),
            "image": option("image", default="docker.io/library/python:3-slim"),
            "kubeconfig": option("kubeconfig", is_path=True, refused="it runs programs"),
        },
        "exchange": {
            "namespace": option("namespace"),
            "mode": option("mode", one_of("selector", "scale")),
            "expose": option("expose", multiple=True),
        },
        "mirror": {
            "namespace": option("namespace"),
            "mode": option("mode", one_of("selector")),
        },
    }
)
