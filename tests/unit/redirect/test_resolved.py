"""What is asked of resolvectl, and what is made of its answers; the real one is in tests/netns."""

from __future__ import annotations

import pytest

from towline.redirect import resolved
from towline.redirect.resolved import ResolvedError
from towline.redirect.ruleset import LINK_SERVER


@pytest.fixture
def resolvectl(tmp_path, monkeypatch):
    """Make the machine's resolvectl a shell script."""
    program, calls = tmp_path / "resolvectl", tmp_path / "calls"
    monkeypatch.setattr(resolved, "_FOLDERS", str(tmp_path))

    def install(script):
        program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n{script}\n')
        program.chmod(0o755)
        return lambda: calls.read_text().splitlines()

    return install


def test_server_is_set_last_when_all_is_known_of_it(resolvectl):
    calls = resolvectl("")
    resolved.set_link("tow0", ("~.", "towline.internal"))
    assert calls()[-2:] == ["domain tow0 ~. towline.internal", f"dns tow0 {LINK_SERVER}"]
    assert "default-route tow0 no" in calls()


def test_without_domains_nothing_more_is_asked(resolvectl):
    calls = resolvectl("")
    resolved.set_link("tow0", ())
    assert calls() == ["domain tow0 "]


@pytest.mark.parametrize(
    ("dnssec", "tls", "guards"),
    [
        ("Global: no\nLink 2 (eth0): no", "Global: no", []),
        ("Global: no\nLink 2 (eth0): allow-downgrade\n", "Global: no", ["DNSSEC"]),
        ("Global: no", "Global: opportunistic", ["DNS over TLS"]),
        ("Global: yes", "Link 2 (a:b): yes", ["DNSSEC", "DNS over TLS"]),
        ("", "", []),
    ],
)
def test_guards_are_those_of_any_link(resolvectl, dnssec, tls, guards):
    resolvectl(f'[ "$1" = dnssec ] && printf "{dnssec}" || printf "{tls}"')
    assert resolved.guards() == guards


def test_refusal_is_told_in_its_own_words(resolvectl):
    resolvectl("echo first >&2; echo Access denied >&2; exit 1")
    with pytest.raises(ResolvedError, match=r"^resolvectl dnssec: Access denied$"):
        resolved.guards()


def test_failure_without_words_is_told_by_its_status(resolvectl):
    resolvectl("exit 3")
    with pytest.raises(ResolvedError, match="ended with 3"):
        resolved.guards()


def test_resolvectl_that_hangs_is_not_waited_for(resolvectl, monkeypatch):
    monkeypatch.setattr(resolved, "_SECONDS", 0.05)
    resolvectl("exec sleep 60")
    with pytest.raises(ResolvedError, match="too long"):
        resolved.guards()


def test_machine_without_resolvectl_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(resolved, "_FOLDERS", str(tmp_path))
    with pytest.raises(ResolvedError, match="no resolvectl"):
        resolved.guards()
