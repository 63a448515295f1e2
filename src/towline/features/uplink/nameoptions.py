"""What a user says of names: whose they are, and for how long answers are kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from towline.errors import UsageError
from towline.wire.dns import DnsError, Name


@dataclass(frozen=True, slots=True)
class NameOptions:
    """`domains` are asked in the cluster with all below them, `excluded` never are; the longest
    suffix of a name decides. `cluster_domain` is the cluster's own, None for what its pods say.
    Answers of the cluster are kept for `cache_seconds` at most.
    """

    domains: tuple[Name, ...] = ()
    excluded: tuple[Name, ...] = ()
    cluster_domain: Name | None = None
    cache_seconds: int = 0


def suffixes(texts: Iterable[str]) -> tuple[Name, ...]:
    """Read domains, several of them with commas between; `*.` or `.` may stand before each.

    Raises UsageError for what is no domain.
    """
    return tuple(suffix(word.strip()) for text in texts for word in text.split(","))


def suffix(text: str) -> Name:
    """Read one domain; raises UsageError for what is none."""
    bare = text.removeprefix("*").removeprefix(".")
    try:
        name = Name.of(bare.encode("idna").decode())
    except (UnicodeError, DnsError) as error:
        raise _no_domain(text) from error
    if not name.labels or "*" in bare:
        raise _no_domain(text)
    return name


def _no_domain(text: str) -> UsageError:
    return UsageError(f"'{text}' is no domain.", "Write it as in corp.internal.")
