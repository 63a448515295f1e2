"""What a session's resolver has done so far, as numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counts:
    """All since the start.

    `lookups` are those of programs. For them questions were put to the `cluster`, often several
    for one lookup, and to the nameservers `upstream`, or were answered from what is `cached`.
    `nxdomain` counts the lookups whose name was said not to exist, `failed` those that came to
    nothing.
    """

    lookups: int = 0
    cluster: int = 0
    upstream: int = 0
    cached: int = 0
    nxdomain: int = 0
    failed: int = 0

    def as_dict(self) -> dict[str, int]:
        """The numbers by their names, fit for JSON."""
        return asdict(self)
