"""The wheel, installed as a user would, works from where it is then."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.e2e import install
from tests.e2e.tow import connected


@pytest.fixture(scope="module")
def pip_installed(laptop, wheel):
    return install.with_pip(wheel, laptop.inputs / "pip")


@pytest.fixture(autouse=True)
def trace(installed, pip_installed, no_trace):
    return no_trace


def test_uv_tool_install(laptop, installed):
    user = replace(laptop, tow=installed)
    assert user.run(user.tow, "--version").stdout.startswith("towline, version ")
    assert user.run(user.tow.with_name("towline"), "--help").returncode == 0
    with connected(user):
        done = user.run("curl", "-sS", "--max-time", "10", "http://web")
        assert json.loads(done.stdout)["name"] == "web"


def test_pip_install(laptop, pip_installed):
    user = replace(laptop, tow=pip_installed)
    assert user.run(user.tow, "--version").stdout.startswith("towline, version ")
    with connected(user):
        done = user.run("curl", "-sS", "--max-time", "10", "http://web")
        assert json.loads(done.stdout)["name"] == "web"
