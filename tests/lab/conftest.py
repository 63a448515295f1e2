"""The lab itself under test: one of the tests' own, so that the checkout's stays as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab.cluster import Lab
from lab.layout import default_name

# The same in each run of a checkout: what a killed run has left is the next one's to remove.
NAME = f"test-{default_name()[:18].rstrip('-')}"


@pytest.fixture(scope="session")
def own_lab() -> Iterator[Lab]:
    """A lab to break, not yet up; it is taken down at the end."""
    if os.geteuid() != 0:
        pytest.fail("tests/lab need root: the lab is made of namespaces")
    lab = Lab(NAME)
    lab.down()
    yield lab
    lab.down()


@pytest.fixture(scope="module")
def lab(own_lab: Lab) -> Lab:
    """The same lab, up."""
    if None in own_lab.status().values():
        own_lab.up()
    return own_lab
