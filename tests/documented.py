"""What docs/rights.md says that a command needs, for the tests that hold the program to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

RIGHTS = (Path(__file__).parents[1] / "docs" / "rights.md").read_text()

Rule = dict[str, list[str]]


def rules(command: str, part: int = 0) -> list[Rule]:
    """The rules in the section with that command in its heading; a Role's own, or the bare list.

    `part` is their number where it has several.
    """
    (section,) = [
        part for part in RIGHTS.split("\n## ") if f"`tow {command}`" in part.partition("\n")[0]
    ]
    block: Any = yaml.safe_load(section.split("```yaml\n")[part + 1].partition("```")[0])
    found: list[Rule] = block["rules"] if isinstance(block, dict) else block
    return found
