"""Names of the cluster through systemd-resolved's own ways, and no trace in what it remembers."""

from __future__ import annotations

import threading

import pytest

import lab.resolved
from tests.netns import machine
from tests.netns.resolved import (
    LINK,
    add,
    becomes,
    looking_up,
    lookup,
    name_of,
    query,
    running,
    side,
)

SETTINGS = "resolvectl dns; resolvectl domain; resolvectl dnssec; cat /etc/resolv.conf"


@pytest.fixture(scope="session")
def usr():
    return lab.resolved.usr()


@pytest.fixture
def resolved(usr, _namespace):
    with looking_up(usr) as process:
        yield process


@pytest.mark.usefixtures("resolved")
def test_names_mean_what_they_mean_in_a_pod_and_the_others_what_they_did():
    with side("session", "default") as session:
        assert session.notes == []
        found = {name: lookup(name) for name in _EXPECTED}
        assert found == _EXPECTED
        assert name_of("10.96.0.1") == "web.default.svc.cluster.local"
        assert "not found" in query("nobody.other")
        assert "does not have any RR of the requested type" in query("api.other", "--type=AAAA")
        assert "_http._tcp.web IN SRV 0 100 80 web.default" in query("_http._tcp.web", "--type=SRV")


_EXPECTED = {
    "web": ["10.96.0.1", "fd00:96::1"],
    "WEB": ["10.96.0.1", "fd00:96::1"],
    "only4": ["10.96.0.2"],
    "web.default": ["10.96.0.1", "fd00:96::1"],
    "api.other": ["10.96.0.3"],
    "api.other.svc": ["10.96.0.3"],
    "api.other.svc.cluster.local": ["10.96.0.3"],
    "db": ["10.244.0.5", "10.244.0.6"],
    "pod-0.db": ["10.244.0.5"],
    "10-244-0-5.default.pod": ["10.244.0.5"],
    "example.com": ["192.0.2.1"],
    "printer": ["192.0.2.2"],
    "host.corp": ["192.0.2.3"],
    "nobody": [],
    "nobody.other": [],
    "nobody.example.com": [],
    "nobody.default.svc.cluster.local": [],
}


def test_without_nss_resolve_both_the_stub_and_dbus_know_the_cluster(usr):
    with looking_up(usr, hosts="files dns"), side("session", "default"):
        for name in ("web", "api.other", "example.com", "printer", "host.corp", "nobody.other"):
            assert lookup(name) == _EXPECTED[name]
        assert "10.96.0.1" in query("web")


@pytest.mark.usefixtures("resolved")
@pytest.mark.parametrize("killed", [False, True])
def test_with_the_session_go_its_settings_and_what_was_answered(killed):
    before = machine.run(SETTINGS)
    with side("session", "default") as session:
        assert lookup("web") == _EXPECTED["web"]
        assert machine.run(SETTINGS) != before
        if killed:
            session.kill()
            becomes([], machine.helpers)
            becomes(before, lambda: machine.run(SETTINGS))
    assert machine.run(SETTINGS) == before
    assert lookup("web") == lookup("web.default.svc.cluster.local") == []
    assert lookup("example.com") == ["192.0.2.1"]


@pytest.mark.usefixtures("resolved")
def test_name_that_was_denied_is_found_once_it_is_there():
    with side("session", "default") as session:
        assert lookup("later.other") == []
        add(session, "later.other.svc.cluster.local A 10.96.0.9")
        assert lookup("later.other") == ["10.96.0.9"]


@pytest.mark.usefixtures("resolved")
def test_newest_session_is_asked_first_then_the_older_ones_then_the_world():
    with side("session", "default") as old:
        add(old, "old.default.svc.cluster.local A 10.96.0.9")
        assert lookup("both") == ["10.96.0.20"]
        with side("session", "other"):
            assert lookup("both") == ["10.96.0.21"]
            assert lookup("old") == lookup("old.default") == ["10.96.0.9"]
            assert lookup("example.com") == ["192.0.2.1"]
            assert lookup("nobody") == []
        assert lookup("both") == ["10.96.0.20"]


@pytest.mark.usefixtures("resolved")
def test_older_session_that_ends_leaves_the_newer_as_it_is():
    with side("session", "default") as old, side("session", "other"):
        old.kill()
        becomes(1, lambda: len(machine.helpers()))
        assert lookup("both") == ["10.96.0.21"]
        assert lookup("example.com") == ["192.0.2.1"]


def test_names_are_known_to_a_systemd_resolved_that_was_restarted(resolved):
    with side("session", "default"):
        resolved.kill()
        resolved.wait()
        with running():
            assert lookup("web") == _EXPECTED["web"]
            assert lookup("example.com") == ["192.0.2.1"]


def test_what_is_guarded_for_the_world_is_left_to_systemd_resolved(usr):
    with looking_up(usr):
        machine.run(f"resolvectl dnssec {LINK} allow-downgrade")
        with side("session", "default") as session:
            (note,) = session.notes
            assert "DNSSEC" in note
            assert lookup("web") == _EXPECTED["web"]
            assert lookup("api.other.svc") == lookup("api.other.svc.cluster.local") == ["10.96.0.3"]
            assert lookup("api.other") == []


@pytest.mark.usefixtures("resolved")
def test_world_is_there_while_sessions_come_and_go():
    ended, wrong = threading.Event(), []

    def look():
        while not ended.is_set():
            answer = query("example.com", "--cache=no")
            if "192.0.2.1" not in answer:
                wrong.append(answer)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        with side("session", "default"), side("session", "other"):
            assert lookup("both") == ["10.96.0.21"]
    finally:
        ended.set()
        looking.join()
    assert wrong == []
