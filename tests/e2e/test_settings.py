"""What files and variables say reaches a real session, and its agent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.images import PYTHON_IMAGE
from tests.e2e import objects
from tests.e2e.tow import connected

pytestmark = pytest.mark.usefixtures("no_trace")

OWN = f"""\
image: {PYTHON_IMAGE}
image-pull-secret: acme-pull
connect:
  timeout: 100
"""
TEAM = "namespace: other-ns\ntimeout: 1  # too short: what each person sets counts more\n"


@pytest.fixture
def at_work(laptop):
    """The laptop with somebody's settings, in the folder of a team."""
    tree = laptop.inputs / "tree"
    own = laptop.inputs / "xdg" / "towline"
    for folder in (tree / ".git", own):
        folder.mkdir(parents=True)
    (tree / ".towline.yaml").write_text(TEAM)
    (own / "config.yaml").write_text(OWN)
    script = laptop.input("tow-at-work", f'cd {tree}\nexec {laptop.tow} "$@"\n')
    script.write_text("#!/bin/sh -e\n" + script.read_text())
    script.chmod(0o755)
    return replace(laptop, tow=script)


def test_session_is_as_team_and_user_and_environment_say(lab, at_work):
    environment = {"XDG_CONFIG_HOME": str(at_work.inputs / "xdg"), "TOW_IMAGE": ""}
    with connected(at_work, TOW_CONNECT_DETACH="no", **environment) as session:
        ready = session.ready()
        assert ready["namespace"] == "other-ns"
        spec = objects.pod_of_agent(lab, ready)["spec"]
        assert [each["image"] for each in spec["containers"]] == [PYTHON_IMAGE]
        assert spec["imagePullSecrets"] == [{"name": "acme-pull"}]
