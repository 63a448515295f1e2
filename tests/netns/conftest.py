"""Each test here runs on the real kernel, in a network namespace of its own.

The test's thread moves into an empty namespace and back. What it starts meanwhile (processes,
devices, tables) is there as well, so that the machine is never touched.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.netns import machine

_NAMESPACE = Path("/proc/thread-self/ns/net")


@pytest.fixture(autouse=True)
def _namespace():
    if os.geteuid() != 0:
        pytest.fail("tests/netns need root: they make network namespaces")
    home = os.open(_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        machine.enter_new_namespace()
        try:
            assert _NAMESPACE.stat().st_ino != os.fstat(home).st_ino
            machine.run("ip link set lo up")
            yield
            machine.end_processes()
        finally:
            machine.enter_namespace(home)
    finally:
        os.close(home)


@pytest.fixture
def traceless(_namespace):
    """The machine is afterwards as it was before."""
    before = machine.snapshot()
    yield
    machine.assert_becomes(before)
