"""Fixtures of the end-to-end tests: the lab, its laptop, and the promise to leave no trace."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cluster import Lab
from tests.e2e import install, notrace
from tests.e2e.laptop import Laptop
from tests.e2e.notrace import Trace
from tests.e2e.trace.cluster import Api

HERE = Path(__file__).parent
# Tests of the check itself.
_UNCHECKED = HERE / "test_trace.py"
_CHECKS = {"no_trace", "no_trace_of_module"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test here is one of whether it leaves a trace, whatever else it is."""
    unchecked = {
        item.nodeid.partition("[")[0]
        for item in items
        if item.path.is_relative_to(HERE)
        and item.path != _UNCHECKED
        and _CHECKS.isdisjoint(getattr(item, "fixturenames", ()))
    }
    if unchecked:
        names = ", ".join(sorted(unchecked))
        raise pytest.UsageError(f"without no_trace or no_trace_of_module: {names}")


@pytest.fixture(scope="session")
def lab(worker_id: str) -> Iterator[Lab]:
    """The running lab; the checkout's own stays up afterwards, for the next run."""
    if os.geteuid() != 0:
        pytest.fail("tests/e2e need root: the lab is made of namespaces")
    lab = Lab()
    lab.up()
    yield lab
    if worker_id not in ("master", "gw0"):
        lab.down()


@pytest.fixture(scope="session")
def laptop(lab: Lab) -> Iterator[Laptop]:
    """The laptop, with a home of its own."""
    folder = Path(tempfile.mkdtemp(prefix="e2e-", dir=lab.layout.state))
    folder.chmod(0o755)
    made = Laptop(lab, folder)
    made.prepare()
    yield made
    shutil.rmtree(made.folder)
    shutil.rmtree(made.inputs)


@pytest.fixture(scope="session")
def api(lab: Lab) -> Iterator[Api]:
    """The cluster's API, for looking at all that there is."""
    opened = notrace.open_api(lab)
    yield opened
    opened.close()


@pytest.fixture
def no_trace(laptop: Laptop, api: Api) -> Iterator[Trace]:
    """After the test all is as it was before."""
    trace = Trace(laptop, api)
    yield trace
    trace.check()


@pytest.fixture(scope="module")
def no_trace_of_module(laptop: Laptop, api: Api) -> Iterator[Trace]:
    """After the module's tests, which share a session, all is as it was before them."""
    trace = Trace(laptop, api)
    yield trace
    trace.check()


@pytest.fixture(scope="session")
def wheel(laptop: Laptop) -> Path:
    """The wheel, built as for a release."""
    return install.build(laptop.inputs / "dist")


@pytest.fixture(scope="session")
def installed(laptop: Laptop, wheel: Path) -> Path:
    """The program as `uv tool install` makes it, where everybody may run it."""
    return install.with_uv_tool(wheel, laptop.inputs / "tool")
