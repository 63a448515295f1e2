"""What can be wrong with settings, and where it is written."""

from __future__ import annotations

from dataclasses import dataclass

from towline.errors import UsageError


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a file, or in a variable, that cannot be used; `line` is 0 if there is none."""

    file: str
    line: int
    what: str
    hint: str = ""

    @property
    def summary(self) -> str:
        """Where and what, in one line."""
        return f"{place(self.file, self.line)}: {self.what}"


class SettingsError(UsageError):
    """Settings that cannot be used as written."""

    def __init__(self, problem: Problem, others: int = 0) -> None:
        more = f" (and {others} more: see 'tow config show')" if others else ""
        super().__init__(problem.summary + more, problem.hint)
        self.problem = problem


def place(file: str, line: int) -> str:
    """`FILE:LINE`, as editors and people read it."""
    return f"{file}:{line}" if line else file
