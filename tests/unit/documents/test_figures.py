"""What a benchmark has measured comes into the documents where there is a place for it."""

from pathlib import Path

import pytest

from benchmarks.document import replaced, write
from benchmarks.report import PARTS
from benchmarks.transports.report import OF_PARTS

DOCUMENTS = Path(__file__).parents[3] / "docs"
PAGE = "# Speed\n\n<!-- figures: uplink -->\n\nold\n\n<!-- end of uplink -->\n\nWhy.\n"


def test_tables_between_the_marks_are_replaced_and_nothing_else():
    assert replaced(PAGE, "uplink", "| new |") == PAGE.replace("old", "| new |")


@pytest.mark.parametrize("part", ["mesh", "up"])
def test_text_without_marks_for_a_part_stays(part):
    assert replaced(PAGE, part, "| new |") == PAGE


def test_text_whose_end_is_not_marked_stays():
    assert replaced(PAGE.replace("end of", "end"), "uplink", "new") != "new"
    assert replaced(PAGE.replace("end of", "end"), "uplink", "new") == PAGE.replace("end of", "end")


def test_the_document_that_has_the_marks_is_written(tmp_path):
    (tmp_path / "speed.md").write_text(PAGE)
    (tmp_path / "other.md").write_text("# Other\n")
    write("uplink", "| new |", tmp_path)
    assert "| new |" in (tmp_path / "speed.md").read_text()
    assert (tmp_path / "other.md").read_text() == "# Other\n"


@pytest.mark.parametrize("part", ["uplink", *OF_PARTS, *sorted({*PARTS} - {"routers"})])
def test_each_part_has_its_place_in_the_documents(part):
    text = (DOCUMENTS / "performance.md").read_text()
    assert replaced(text, part, "something new") != text
