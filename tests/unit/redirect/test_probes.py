from __future__ import annotations

import os

import pytest

from towline.redirect import probes


@pytest.fixture
def sudo(tmp_path, monkeypatch):
    """Pretend to be an ordinary user with a sudo of the test's own."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def behave(script):
        program = tmp_path / "sudo"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return behave


@pytest.mark.parametrize(
    ("script", "ok"),
    [
        ("exit 0", True),
        ("echo 'sudo: a password is required' >&2; exit 1", True),
        ("echo 'Sorry, user nobody may not run sudo on here.' >&2; exit 1", False),
        ("exit 1", False),
    ],
)
async def test_probe_root_tells_what_sudo_would_do(sudo, script, ok):
    sudo(script)
    probe = await probes.probe_root()
    assert probe.ok is ok
    assert probe.what
    assert bool(probe.hint) is not ok


async def test_probe_root_without_sudo_has_a_hint(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    probe = await probes.probe_root()
    assert probe.ok is False
    assert "sudo" in probe.hint


async def test_probe_kernel_tells_of_device_and_tables():
    names = {probe.name for probe in await probes.probe_kernel()}
    assert {"tun", "nftables"} <= names


async def test_probe_all_has_a_hint_for_all_that_is_not_well():
    found = await probes.probe_all()
    assert all(probe.what for probe in found)
    assert all(probe.hint for probe in found if not probe.ok)
