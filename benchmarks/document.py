"""Puts tables into the documents, between the marks that say what belongs there."""

from __future__ import annotations

from pathlib import Path

from lab.layout import CHECKOUT

DOCUMENTS = CHECKOUT / "docs"


def write(part: str, tables: str, folder: Path = DOCUMENTS) -> None:
    """Replace the tables of a part in whatever document has them."""
    for path in folder.glob("*.md"):
        text = path.read_text()
        changed = replaced(text, part, tables)
        if changed != text:
            path.write_text(changed)


def replaced(text: str, part: str, tables: str) -> str:
    """The text with other tables of a part; the same if it has no marks for that."""
    begin, end = (f"<!-- {word} {part} -->" for word in ("figures:", "end of"))
    before, mark, rest = text.partition(begin)
    _, end_mark, after = rest.partition(end)
    if not (mark and end_mark):
        return text
    return f"{before}{begin}\n\n{tables}\n\n{end}{after}"
