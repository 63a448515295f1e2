"""A session of `tow up` as its parent hears it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def tethered(
    parent: int, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "towline.cli.tethered", str(parent), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_it_does_what_it_is_told():
    done = tethered(os.getpid(), "status", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])


@pytest.mark.parametrize("arguments", [("exchange",), ("exchange", "web", "--mode", "odd")])
def test_what_cannot_be_used_as_written_is_an_event(arguments: tuple[str, ...]):
    done = tethered(os.getpid(), *arguments)
    event = json.loads(done.stdout)
    assert (event["event"], event["exit_code"], done.returncode) == ("error", 2, 2)
    assert done.stderr == ""


def test_error_is_an_event_and_nothing_on_stderr(tmp_path: Path):
    none = str(tmp_path / "none")
    done = tethered(os.getpid(), "connect", "-o", "json", KUBECONFIG=none, HOME=str(tmp_path))
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["exit_code"] for event in events} == {3}
    assert (done.returncode, done.stderr) == (3, "")


def test_without_its_parent_it_does_nothing():
    done = tethered(1 << 30, "status")
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "")
