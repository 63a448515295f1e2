from __future__ import annotations

import os

import pytest

from towline.errors import AccessError
from towline.redirect import launch, messages


@pytest.fixture
def not_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.fixture
def sudo(tmp_path, monkeypatch, not_root):
    """Put a sudo of the test's own on the PATH; gives a function that says what it does."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def behave(script):
        program = tmp_path / "sudo"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return behave


async def test_no_sudo_is_said(monkeypatch, tmp_path, not_root):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AccessError) as caught:
        await launch.start_helper()
    assert "no sudo" in caught.value.summary
    assert caught.value.hint


async def test_denied_by_sudo_is_said(sudo):
    sudo("echo 'sudo: nobody is allowed' >&2; exit 1")
    with pytest.raises(AccessError) as caught:
        await launch.start_helper()
    assert "could not be started as root" in caught.value.summary
    assert caught.value.hint


async def test_sudo_that_keeps_its_input_is_said(sudo):
    sudo(f"exit {messages.NO_PEER_STATUS}")
    with pytest.raises(AccessError) as caught:
        await launch.start_helper()
    assert "log_input" in caught.value.hint


async def test_sudo_given_the_whole_command(sudo, tmp_path):
    sudo(f'echo "$@" > {tmp_path}/arguments; exit 1')
    with pytest.raises(AccessError):
        await launch.start_helper()
    said = (tmp_path / "arguments").read_text()
    assert said.strip().endswith(" ".join(["--", *launch.HELPER]))
