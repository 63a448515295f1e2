"""The wheel, installed as a user would, works from where it is then."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.e2e import install
from tests.e2e.tow import connected

INSTALLERS = {"pip": install.with_pip, "pipx": install.with_pipx, "uv tool": install.with_uv_tool}


@pytest.fixture(scope="module", params=INSTALLERS)
def user(request, laptop, wheel):
    """The laptop with the program as one of the installers makes it."""
    folder = laptop.inputs / f"by {request.param}".replace(" ", "-")
    return replace(laptop, tow=INSTALLERS[request.param](wheel, folder))


@pytest.fixture(autouse=True)
def trace(user, no_trace):
    return no_trace


def test_installed_program(user):
    assert user.run(user.tow, "--version").stdout.startswith("towline, version ")
    assert user.run(user.tow.with_name("towline"), "--help").returncode == 0
    with connected(user):
        done = user.run("curl", "-sS", "--max-time", "10", "http://web")
        assert json.loads(done.stdout)["name"] == "web"
