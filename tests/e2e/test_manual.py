"""The manual pages, as the formatter of man reads them."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("no_trace")


def test_pages_are_free_of_mistakes(laptop):
    folder = laptop.inputs / "man1"
    assert laptop.run(laptop.tow, "man", folder).returncode == 0
    found = sorted(folder.iterdir())
    assert folder / "tow.1" in found
    done = laptop.run("groff", "-man", "-ww", "-z", "-Tutf8", *found)
    assert (done.returncode, done.stderr) == (0, "")
